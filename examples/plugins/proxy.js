// All of it in one plugin, as the binary has it.
import Fastify from 'fastify'
import { mcpProxy } from 'mcp-proxy'
import { announce } from './announce.js'

const app = Fastify()
await app.register(mcpProxy, { command: 'node server.js', userId: 'user123', stream: { path: ['/stream', '/mcp'] } })
await app.listen({ port: Number(process.env.PORT ?? 3000) })

announce(app)
