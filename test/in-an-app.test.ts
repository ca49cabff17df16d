import t from 'tap'
import cors from '@fastify/cors'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { EndpointOptions } from '@mcp-proxy/endpoint'
import { mcpSse } from '@mcp-proxy/sse'
import { mcpStdioBridge } from '@mcp-proxy/stdio-bridge'
import { mcpStream } from '@mcp-proxy/stream'
import { CHILD, type Teardown } from './helpers/app.js'
import { call, initialize, post } from './helpers/http.js'
import { live } from './helpers/live.js'
import { Puppet } from './helpers/puppet.js'

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }

/** Somebody's API, before MCP comes to it. */
function buildApi (t: Teardown, options: FastifyServerOptions = {}): FastifyInstance {
  const app = Fastify({ logger: false, ...options })
  t.teardown(() => app.close())
  app.post('/orders', { schema: { body: { type: 'object', properties: { n: { type: 'integer' } } } } }, async request => ({ got: request.body }))
  app.addContentTypeParser('text/csv', { parseAs: 'string' }, (_request, body, done) => done(null, { csv: body }))
  app.get('/broken', async () => { throw Object.assign(new Error('the app is broken'), { statusCode: 418 }) })
  app.get('/late', async () => 'late')
  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => { void reply.code(error.statusCode ?? 500).send({ ours: error.message }) })
  return app
}

t.test('the other routes of an app keep their parsers, their error handler, their Host and their CORS', async (t) => {
  const app = buildApi(t)
  const { connect } = new Puppet()
  await app.register(mcpStream, { connect })
  await app.register(mcpSse, { connect })
  app.post('/after', async request => ({ got: request.body }))

  for (const url of ['/orders', '/after']) {
    const order = await app.inject({ method: 'POST', url, headers: { host: 'shop.example', origin: 'https://shop.example' }, payload: { n: 1 } })
    t.strictSame(order.json(), { got: { n: 1 } }, 'parsed')
    t.notOk(Object.keys(order.headers).some(name => name.startsWith('access-control')), 'no CORS, no guard')
    t.strictSame((await app.inject({ method: 'POST', url, headers: { 'content-type': 'text/csv' }, payload: 'a,b' })).json().got === undefined, false)
  }
  t.strictSame((await app.inject({ method: 'POST', url: '/orders', payload: { n: 'x' } })).json(), { ours: 'body/n must be integer' })
  const broken = await app.inject('/broken')
  t.equal(broken.statusCode, 418)
  t.strictSame(broken.json(), { ours: 'the app is broken' })
  t.equal((await app.inject({ method: 'OPTIONS', url: '/orders', headers: { origin: 'http://localhost', 'access-control-request-method': 'POST' } })).statusCode, 404)
  t.equal((await app.inject('/nowhere')).statusCode, 404)
  t.equal((await app.inject({ method: 'HEAD', url: '/late' })).statusCode, 200)
  t.match((await post(app, '{')).json(), { error: { code: -32700 } }, 'while the endpoint has its own')
})

t.test('an endpoint alone, with a command, is all that an app needs', async (t) => {
  const app = buildApi(t)
  await app.register(mcpStream, { command: CHILD, prefix: '/api' })
  const session = await initialize(app, { url: '/api/stream' })
  t.match((await post(app, call(1, 'echo', { text: 'hi' }), session, '/api/stream')).json(), { result: { content: [{ text: 'hi' }] } })
  t.equal((await post(app, PING, session)).statusCode, 404, 'and nowhere else')
  t.notOk(app.hasDecorator('mcpBridge'))
})

t.test('endpoints share the children of the bridge above them', async (t) => {
  const app = buildApi(t)
  await app.register(mcpStdioBridge, { command: CHILD })
  await app.register(mcpStream)
  await app.register(mcpStream, { prefix: '/second' })
  const pids = new Set<string>()
  for (const url of ['/stream', '/second/stream']) pids.add((await post(app, call(1, 'pid'), await initialize(app, { url }), url)).body)
  t.equal(pids.size, 1)
  t.equal(app.mcpBridge.status().children.length, 1)
  await t.rejects(async () => { await buildApi(t).register(mcpSse) }, { code: 'MCP_ERR_NO_SERVER' })
})

t.test('a session of one endpoint is unknown to another', async (t) => {
  const app = buildApi(t)
  const { connect } = new Puppet()
  await app.register(mcpStream, { connect, prefix: '/a' })
  await app.register(mcpStream, { connect, prefix: '/b' })
  const session = await initialize(app, { url: '/a/stream' })
  t.equal((await post(app, PING, session, '/a/stream')).statusCode, 200)
  t.equal((await post(app, PING, session, '/b/stream')).statusCode, 404)
})

t.test('hooks, config and constraints reach every route of an endpoint, and hooks run before the body is read', async (t) => {
  const app = buildApi(t)
  const puppet = new Puppet()
  const seen: string[] = []
  const options: EndpointOptions = {
    connect: puppet.connect,
    config: { team: 'green' } as EndpointOptions['config'],
    constraints: { host: 'mcp.example' },
    allowedHosts: ['mcp.example'],
    onRequest: async ({ method, body, routeOptions }) => {
      const { team, mcp } = routeOptions.config as { team?: string, mcp?: boolean }
      seen.push(`onRequest ${method} ${team} ${mcp} ${body === undefined}`)
    },
    preHandler: [async ({ method, body }) => { seen.push(`preHandler ${method} ${Buffer.isBuffer(body)}`) }],
  }
  await app.register(mcpStream, options)
  const headers = { host: 'mcp.example', accept: 'application/json, text/event-stream' }
  t.equal((await post(app, PING, headers)).statusCode, 400)
  for (const method of ['GET', 'DELETE'] as const) t.equal((await app.inject({ method, url: '/stream', headers })).statusCode, 400)
  t.strictSame(seen, ['POST', 'GET', 'DELETE'].flatMap(method => [`onRequest ${method} green true true`, `preHandler ${method} ${method === 'POST'}`]))
  t.equal((await post(app, PING, { host: 'localhost' })).statusCode, 404, 'the constraint')
})

t.test('what a hook of the app throws is JSON-RPC with its own status; what is unknown tells nothing', async (t) => {
  const app = buildApi(t)
  const puppet = new Puppet()
  await app.register(mcpStream, {
    connect: puppet.connect,
    onRequest: async ({ headers }) => {
      if (headers['x-fail'] === 'known') throw Object.assign(new Error('pay first'), { statusCode: 402, code: 'SHOP_UNPAID' })
      throw new Error('password is 1234')
    },
  })
  const known = await post(app, PING, { 'x-fail': 'known' })
  t.equal(known.statusCode, 402)
  t.match(known.json(), { jsonrpc: '2.0', error: { code: -32600, message: 'pay first', data: { code: 'SHOP_UNPAID' } } })
  const unknown = await post(app, PING)
  t.equal(unknown.statusCode, 500)
  t.match(unknown.json(), { jsonrpc: '2.0', error: { code: -32603 } })
  t.notMatch(unknown.body, /1234/)
})

t.test('errorHandler: false leaves errors to the app, a function handles them', async (t) => {
  const app = buildApi(t)
  const { connect } = new Puppet()
  await app.register(mcpStream, { connect, errorHandler: false })
  await app.register(mcpStream, { connect, prefix: '/own', errorHandler: (error, _request, reply) => reply.code(error.statusCode ?? 500).send({ mine: error.code }) })
  const answer = await post(app, PING)
  t.equal(answer.statusCode, 400)
  t.match(answer.json(), { ours: /session id/ })
  t.strictSame((await post(app, PING, {}, '/own/stream')).json(), { mine: 'MCP_ERR_SESSION_REQUIRED' })
})

t.test('hooks of the app run on event streams too: onSend, and what they set in the header', async (t) => {
  const app = buildApi(t)
  const { connect } = new Puppet()
  app.addHook('onSend', async (_request, reply) => { void reply.header('x-sent-by', 'the app') })
  await app.register(cors, { origin: true })
  await app.register(mcpSse, { connect })
  const stream = await live(t, `${await app.listen({ port: 0, host: '127.0.0.1' })}/sse`, { headers: { origin: 'http://localhost:3000' } })
  t.equal(stream.response.headers['x-sent-by'], 'the app')
  t.equal(stream.response.headers['access-control-allow-origin'], 'http://localhost:3000')
})

t.test('a server-wide handlerTimeout cuts the app\'s handlers and no stream', async (t) => {
  const app = Fastify({ handlerTimeout: 100 } as FastifyServerOptions)
  t.teardown(() => app.close())
  const puppet = new Puppet()
  const { connect } = puppet
  app.get('/slow', () => new Promise(() => {}))
  await app.register(mcpStream, { connect })
  await app.register(mcpSse, { connect })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const session = await initialize(app)
  const { party } = puppet
  const open = live(t, `${url}/stream`, { method: 'POST', headers: session, body: call(1, 'x') })
  const [sse, get] = await Promise.all([live(t, `${url}/sse`), live(t, `${url}/stream`, { headers: session })])
  await party.called(1)
  // begun after the others: when it was cut they would have been
  t.equal((await app.inject('/slow')).statusCode, 503)
  void party.say('on the stream')
  void puppet.party.say('on sse')
  void party.answer(1)
  await get.until('on the stream')
  await sse.until('on sse')
  const answer = await open
  t.equal(await answer.ended, 'whole')
  t.equal(answer.status, 200)
})

t.test('no session id, user id, query string or message is logged', async (t) => {
  let log = ''
  const app = Fastify({ logger: { level: 'trace', stream: { write: (line: string) => { log += line } } } })
  t.teardown(() => app.close())
  const { mcpAuth } = await import('@mcp-proxy/auth')
  await app.register(mcpAuth, { userId: 'very-secret-user' })
  await app.register(mcpStdioBridge, { command: CHILD })
  await app.register(mcpStream)
  await app.register(mcpSse)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const user = { 'x-user-id': 'very-secret-user' }
  const session = await initialize(app, { headers: user })
  await post(app, call(1, 'echo', { text: 'private text' }), session)
  await post(app, call(2, 'exit'), session)
  await post(app, '{"private text', session)
  const stream = await live(t, `${url}/sse`, { headers: user })
  await stream.until(() => stream.events.length > 0)
  const endpoint = stream.events[0]?.data ?? ''
  await post(app, call(3, 'echo', { text: 'private text' }), user, endpoint)
  await post(app, PING, { 'x-user-id': 'very-secret-guess' }, endpoint)
  await post(app, PING, {}, `${endpoint}x`)
  stream.leave()
  await app.inject({ method: 'DELETE', url: '/stream', headers: session })
  await app.close()
  t.match(log, /MCP_ERR_UNAUTHORIZED/, 'there is a log')
  const sseId = endpoint.split('=')[1] ?? ''
  for (const secret of [session['mcp-session-id'] ?? '', sseId, 'very-secret', 'sessionId=', 'private text']) t.notOk(log.includes(secret), secret)
})
