import t from 'tap'
import Fastify from 'fastify'
import { mcpAuth, type McpAuthOptions } from '@mcp-proxy/auth'
import { mcpStream } from '@mcp-proxy/stream'
import { INITIALIZE, PING, answering, build, open, post, status, type Register } from './helpers/endpoints.js'

const auth = (options: McpAuthOptions): Register => app => app.register(mcpAuth, options)
const as = (user: string): Record<string, string> => ({ 'x-user-id': user })

t.test('one user id is let in, and nobody else', async (t) => {
  const { app, principals } = await build(t, auth({ userId: 'user123' }))
  t.equal(await status(app, as('user123')), 200)
  t.strictSame(principals, ['user123'])
  for (const headers of [{}, as(''), as('user12'), as('user1234'), as('USER123'), as('user123, user123'), as(' '), { authorization: 'user123' }]) {
    const answer = await post(app, headers)
    t.equal(answer.statusCode, 401, JSON.stringify(headers))
    t.match(answer.json(), { jsonrpc: '2.0', error: { code: -32000, message: /x-user-id/, data: { code: 'MCP_ERR_UNAUTHORIZED' } } })
    t.notMatch(answer.body, /user12/, 'what was given is not repeated')
  }
  t.equal(principals.length, 1)
})

t.test('several user ids, each a principal of its own', async (t) => {
  const { app, principals } = await build(t, auth({ userId: ['ada', 'grace'] }))
  t.equal(await status(app, as('grace')), 200)
  t.equal(await status(app, as('ada')), 200)
  t.equal(await status(app, as('eve')), 401)
  t.strictSame(principals, ['grace', 'ada'])
})

t.test('a function decides: yes, no, or under another name; at once or later', async (t) => {
  const people: Record<string, boolean | string> = { ada: true, key1: 'grace', nobody: '', no: false }
  const known = new Map(Object.entries(people))
  for (const userId of [(id: string) => known.get(id), async (id: string) => known.get(id)]) {
    const { app, principals } = await build(t, auth({ userId }))
    t.equal(await status(app, as('ada')), 200)
    t.equal(await status(app, as('key1')), 200)
    for (const user of ['nobody', 'no', 'unknown', '__proto__']) t.equal(await status(app, as(user)), 401, user)
    t.strictSame(principals, ['ada', 'grace'])
  }
})

t.test('a function sees the request, is not asked about nothing, and one that fails lets nobody in', async (t) => {
  const asked: string[] = []
  const { app } = await build(t, auth({
    userId: (id, { method, url }) => {
      asked.push(`${id} ${method} ${url}`)
      if (id === 'boom') throw new Error('database at 10.0.0.1 is down')
      return true
    }
  }))
  await status(app)
  await status(app, as(''))
  await status(app, as('ada'))
  t.strictSame(asked, ['ada POST /stream'])
  const failed = await post(app, as('boom'))
  t.equal(failed.statusCode, 500)
  t.match(failed.json(), { jsonrpc: '2.0', error: { code: -32603 } })
  t.notMatch(failed.body, /10\.0\.0\.1/)
})

t.test('another header carries the user id, whatever its case', async (t) => {
  const { app } = await build(t, auth({ userId: 'ada', header: 'X-API-Key' }))
  t.equal(await status(app, { 'x-api-key': 'ada' }), 200)
  t.match((await post(app, as('ada'))).json(), { error: { message: /x-api-key/ } })
})

t.test('preHandler checks after the body was read, onRequest before', async (t) => {
  for (const [hook, stranger] of [[undefined, 413], ['preHandler', 413], ['onRequest', 401]] as const) {
    const { app } = await build(t, auth({ userId: 'ada', hook }), { bodyLimit: 1000 })
    t.equal((await post(app, {}, 'x'.repeat(2000))).statusCode, stranger, String(hook))
    t.equal(await status(app), 401)
    t.equal(await status(app, as('ada')), 200)
  }
})

t.test('hook: false checks nothing and leaves the decorator', async (t) => {
  const { app, principals } = await build(t, auth({ userId: 'ada', hook: false }))
  t.equal(await status(app), 200)
  t.strictSame(principals, [undefined])
  t.type(app.mcpVerifyUserId, 'function')
  t.equal((await post(app, { origin: 'https://site.example' })).statusCode, 403, 'nothing guards: pages from elsewhere stay out')
})

t.test('user ids that are empty are refused at start', async (t) => {
  for (const userId of ['', [], ['ada', ''], [7 as unknown as string], undefined as unknown as string]) {
    const app = Fastify()
    await t.rejects(async () => { await app.register(mcpAuth, { userId }) }, { code: 'MCP_ERR_OPTION', message: /userId/ })
  }
})

t.test('every route of both endpoints is guarded, the SSE POST and DELETE too; a stranger learns nothing about sessions', async (t) => {
  const { app, principals } = await build(t, auth({ userId: ['ada', 'grace'] }))
  const session = await open(app, as('ada'))
  const id = session['mcp-session-id'] ?? ''
  for (const [method, url] of [['POST', '/stream'], ['GET', '/stream'], ['DELETE', '/stream'], ['GET', '/sse'], ['POST', `/messages?sessionId=${id}`], ['POST', '/messages']] as const) {
    for (const headers of [{}, as('eve')]) {
      const answer = await app.inject({ method, url, headers: { accept: 'application/json, text/event-stream', 'mcp-session-id': id, ...headers, ...(method === 'POST' && { 'content-type': 'application/json' }) }, ...(method === 'POST' && { payload: PING }) })
      t.equal(answer.statusCode, 401, `${method} ${url}`)
    }
  }
  t.equal(principals.length, 1)
  t.equal((await post(app, session, PING)).statusCode, 200, 'the session is untouched')
})

t.test('preflight needs no user id, and a 401 carries CORS headers', async (t) => {
  const { app } = await build(t, auth({ userId: 'ada', hook: 'onRequest' }))
  const origin = 'https://site.example'
  for (const url of ['/stream', '/sse', '/messages']) t.equal((await app.inject({ method: 'OPTIONS', url, headers: { origin, 'access-control-request-method': 'POST' } })).statusCode, 204, url)
  t.match((await post(app, { origin })).headers, { 'access-control-allow-origin': origin })
})

t.test('other routes of the app are open', async (t) => {
  const { app } = await build(t, auth({ userId: 'ada' }))
  t.equal((await app.inject('/other')).statusCode, 200)
})

t.test('a session belongs to the principal that opened it', async (t) => {
  const { app } = await build(t, auth({ userId: async id => ({ key1: 'ada', key2: 'ada', key3: 'grace' })[id] }))
  const session = await open(app, as('key1'))
  for (const [key, expected] of [['key1', 200], ['key2', 200], ['key3', 404]] as const) {
    t.equal((await post(app, { ...session, ...as(key) }, PING)).statusCode, expected, key)
  }
  for (const method of ['GET', 'DELETE'] as const) t.equal((await app.inject({ method, url: '/stream', headers: { ...session, ...as('key3'), accept: 'text/event-stream' } })).statusCode, 404)
  t.equal((await app.inject({ method: 'DELETE', url: '/stream', headers: { ...session, ...as('key2') } })).statusCode, 204)
})

t.test('a second user cannot post into an SSE session', async (t) => {
  const { app } = await build(t, auth({ userId: ['ada', 'grace'] }))
  const stream = await app.inject({ url: '/sse', headers: as('ada'), payloadAsStream: true })
  const body = stream.stream()
  const [first] = await body.take(1).toArray() as [Buffer]
  const endpoint = /data: (\S+)/.exec(String(first))?.[1] ?? ''
  t.match(endpoint, /^\/messages\?sessionId=/)
  t.equal((await post(app, as('grace'), PING, endpoint)).statusCode, 404)
})

t.test('auth that is registered behind an endpoint, which it would not guard, fails at start', async (t) => {
  for (const hook of ['preHandler', 'onRequest'] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(mcpStream, { connect: answering([]) })
    await app.register(mcpAuth, { userId: 'ada', hook })
    await t.rejects(async () => { await app.ready() }, { code: 'MCP_ERR_AUTH_ORDER' })
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(mcpStream, { connect: answering([]) })
  await app.register(mcpAuth, { userId: 'ada', hook: false })
  await t.resolves(async () => { await app.ready() }, 'one that guards nothing may come when it likes')
})

t.test('auth in one part of an app guards that part', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const connect = answering([])
  await app.register(async (part) => {
    await part.register(mcpAuth, { userId: 'ada' })
    await part.register(mcpStream, { connect })
  }, { prefix: '/closed' })
  await app.register(mcpStream, { connect, prefix: '/open' })
  t.equal((await post(app, {}, INITIALIZE, '/closed/stream')).statusCode, 401)
  t.equal((await post(app, as('ada'), INITIALIZE, '/closed/stream')).statusCode, 200)
  t.equal((await post(app, {}, INITIALIZE, '/open/stream')).statusCode, 200)
})
