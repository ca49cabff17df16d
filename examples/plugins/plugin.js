// An API that exists already, and an MCP endpoint in it: one line.
import Fastify from 'fastify'
import mcpSse from '@mcp-proxy/sse'
import { announce } from './announce.js'

const app = Fastify()
app.get('/users', async () => ['ada', 'grace'])
app.register(mcpSse, { command: 'node server.js' })
await app.listen({ port: Number(process.env.PORT ?? 3000) })

announce(app)
