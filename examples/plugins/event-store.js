// A smaller memory for streams that clients resume; anything with the shape of the MCP SDK's EventStore fits as well.
import Fastify from 'fastify'
import { InMemoryEventStore } from '@mcp-proxy/endpoint'
import mcpStream from '@mcp-proxy/stream'
import { announce } from './announce.js'

const app = Fastify()
const eventStore = new InMemoryEventStore({ maxEvents: 1000, maxBytes: 1024 * 1024 })
await app.register(mcpStream, { command: 'node server.js', eventStore })
await app.listen({ port: Number(process.env.PORT ?? 3000) })

announce(app)
