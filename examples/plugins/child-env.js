// A child for each session, which gets its client's credentials as variables: never another client's.
import Fastify from 'fastify'
import mcpAuth from '@mcp-proxy/auth'
import mcpStdioBridge from '@mcp-proxy/stdio-bridge'
import mcpStream from '@mcp-proxy/stream'
import { announce } from './announce.js'

const app = Fastify()
await app.register(mcpStdioBridge, {
  command: 'node server.js',
  isolation: 'session',
  childEnv: ({ request, principal }) => ({ API_TOKEN: String(request?.headers['x-api-token'] ?? ''), USER_NAME: principal ?? '' })
})
await app.register(mcpAuth, { userId: ['ada', 'grace'] })
await app.register(mcpStream)
await app.listen({ port: Number(process.env.PORT ?? 3000) })

announce(app)
