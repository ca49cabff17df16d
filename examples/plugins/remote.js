// A server elsewhere over both transports: clients of any revision, with headers that they do not know.
import Fastify from 'fastify'
import { remoteServer } from '@mcp-proxy/remote'
import mcpSse from '@mcp-proxy/sse'
import mcpStream from '@mcp-proxy/stream'
import { announce } from './announce.js'

const app = Fastify()
const url = process.env.REMOTE_URL ?? 'http://127.0.0.1:8080/mcp'
const remote = remoteServer({ url, headers: { 'x-user-id': 'user123' } })
await app.register(mcpStream, { connect: remote.connect })
app.addHook('onClose', () => remote.close())
// or by itself, where one endpoint is enough
await app.register(mcpSse, { url, headers: { 'x-user-id': 'user123' } })
await app.listen({ port: Number(process.env.PORT ?? 3000) })

announce(app)
