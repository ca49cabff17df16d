// One server for both transports: the bridge runs it, the endpoints below use the bridge.
import Fastify from 'fastify'
import mcpSse from '@mcp-proxy/sse'
import mcpStdioBridge from '@mcp-proxy/stdio-bridge'
import mcpStream from '@mcp-proxy/stream'
import { announce } from './announce.js'

const app = Fastify()
await app.register(mcpStdioBridge, { command: ['node', 'server.js'], isolation: 'shared' })
await app.register(mcpSse)
await app.register(mcpStream, { path: ['/stream', '/mcp'] })

app.get('/status', async () => app.mcpBridge.status())

// without this line the first message starts the server
await app.mcpBridge.start()
await app.listen({ port: Number(process.env.PORT ?? 3000) })

announce(app)
