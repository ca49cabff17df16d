// Every function of the library once: servers in this process over both transports, a proxy of the SDK's objects, and clients.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { InMemoryEventStore, createAuthenticatedSSEClientTransport, createHeaderAuth, proxyServer, startHTTPStreamServer, startSSEServer, tapTransport } from 'mcp-proxy'
import { buildServer } from './server.js'

const info = { name: 'proxy', version: '1.0.0' }

const sse = await startSSEServer({
  port: Number(process.env.PORT ?? 3000),
  endpoint: '/sse',
  createServer: request => buildServer(request.headers['x-user-id']),
  authenticate: createHeaderAuth('user123')
})

const stream = await startHTTPStreamServer({
  port: 0,
  endpoint: '/stream',
  eventStore: new InMemoryEventStore({ maxEvents: 1000 }),
  createServer: async (request) => {
    const client = new Client(info)
    await client.connect(new StdioClientTransport({ command: 'node', args: ['server.js'] }))

    const capabilities = client.getServerCapabilities()
    const server = new Server(client.getServerVersion() ?? info, { capabilities })
    server.onclose = () => { void client.close() }
    await proxyServer({ server, client, capabilities, authenticate: createHeaderAuth('user123'), request })
    return server
  }
})

const client = new Client({ name: 'client', version: '1.0.0' })
await client.connect(createAuthenticatedSSEClientTransport(sse.url, 'user123'))
const { content: [greeting] } = await client.callTool({ name: 'greet', arguments: { name: 'Ada' } })
console.log(greeting.text)
await client.close()

const transport = new StreamableHTTPClientTransport(new URL(stream.url), { requestInit: { headers: { 'x-user-id': 'user123' } } })
tapTransport(transport, ({ type, message }) => {
  if (type === 'send') console.log(`sent ${message.method}`)
})

const other = new Client({ name: 'client', version: '1.0.0' })
await other.connect(transport)
const { content: [proxied] } = await other.callTool({ name: 'greet', arguments: { name: 'Grace' } })
console.log(proxied.text)
await other.close()

await Promise.all([sse.close(), stream.close()])
