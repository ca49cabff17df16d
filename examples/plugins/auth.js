// Two users, told apart by the header x-user-id. Sessions of one do not exist for the other.
import Fastify from 'fastify'
import mcpAuth from '@mcp-proxy/auth'
import mcpSse from '@mcp-proxy/sse'
import mcpStdioBridge from '@mcp-proxy/stdio-bridge'
import mcpStream from '@mcp-proxy/stream'
import { announce } from './announce.js'

const app = Fastify()

await app.register(mcpStdioBridge, { command: ['node', 'server.js'], isolation: 'auto' })
await app.register(mcpAuth, { userId: ['ada', 'grace'] })
await app.register(mcpSse)
await app.register(mcpStream, { path: ['/stream', '/mcp'] })

await app.listen({ port: Number(process.env.PORT ?? 3000) })

announce(app)
