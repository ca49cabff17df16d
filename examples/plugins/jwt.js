// A guard of one's own in front of the endpoint: `principal` says who somebody is, `authenticated` that the guard asks.
import { randomBytes } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import mcpStream from '@mcp-proxy/stream'
import { announce } from './announce.js'

const secret = process.env.JWT_SECRET ?? randomBytes(32).toString('hex')

const app = Fastify()
await app.register(fastifyJwt, { secret })
await app.register(mcpStream, {
  command: 'node server.js',
  onRequest: request => request.jwtVerify(),
  principal: request => request.user.sub,
  authenticated: true
})
await app.listen({ port: Number(process.env.PORT ?? 3000) })

// an API would do this when somebody has logged in
console.log(`token: ${app.jwt.sign({ sub: 'ada' }, { expiresIn: '1h' })}`)
announce(app)
