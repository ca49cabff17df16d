import t from 'tap'
import fastifyAuth from '@fastify/auth'
import bearerAuth from '@fastify/bearer-auth'
import jwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import Fastify from 'fastify'
import { mcpAuth } from '@mcp-proxy/auth'
import { mcpSse } from '@mcp-proxy/sse'
import { mcpStream } from '@mcp-proxy/stream'
import { INITIALIZE, PING, answering, build, open, post, status } from './helpers/endpoints.js'

const as = (user: string): Record<string, string> => ({ 'x-user-id': user })
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
const SITE = { origin: 'https://site.example' }

t.test('@fastify/auth: a user id or something else, whatever fits first', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const principals: Array<string | undefined> = []
  await app.register(fastifyAuth)
  await app.register(mcpAuth, { userId: 'ada', hook: false })
  const partner = async ({ headers }: { headers: Record<string, unknown> }): Promise<void> => {
    if (headers['x-partner'] !== 'yes') throw Object.assign(new Error('no partner'), { statusCode: 401, code: 'SHOP_PARTNER' })
  }
  await app.register(mcpStream, { connect: answering(principals), onRequest: app.auth([app.mcpVerifyUserId, partner]), authenticated: true })
  t.equal(await status(app, as('ada')), 200)
  t.equal(await status(app, { 'x-partner': 'yes' }), 200)
  const refused = await post(app, as('eve'))
  t.equal(refused.statusCode, 401)
  t.match(refused.json(), { jsonrpc: '2.0', error: { message: 'no partner', data: { code: 'SHOP_PARTNER' } } })
  t.strictSame(principals, ['ada', undefined])
  t.equal(await status(app, { ...as('ada'), ...SITE }), 200, 'authenticated: pages may come from anywhere')
})

t.test('@fastify/bearer-auth: its hook on the routes of both endpoints, its error as JSON-RPC', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const connect = answering([])
  await app.register(bearerAuth, { keys: new Set(['key']), addHook: false })
  const { verifyBearerAuth } = app
  if (verifyBearerAuth === undefined) throw new Error('bearer-auth decorates nothing')
  await app.register(mcpStream, { connect, onRequest: verifyBearerAuth })
  await app.register(mcpSse, { connect, onRequest: verifyBearerAuth })
  t.equal(await status(app, bearer('key')), 200)
  for (const [method, url] of [['POST', '/stream'], ['GET', '/stream'], ['DELETE', '/stream'], ['GET', '/sse'], ['POST', '/messages']] as const) {
    const answer = await app.inject({ method, url, headers: { accept: 'text/event-stream', ...bearer('wrong') } })
    t.equal(answer.statusCode, 401, `${method} ${url}`)
    t.match(answer.json(), { jsonrpc: '2.0', error: { message: String } })
  }
})

t.test('@fastify/jwt: the subject of the token is the principal', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const principals: Array<string | undefined> = []
  await app.register(jwt, { secret: 'a secret for tests' })
  await app.register(mcpStream, {
    connect: answering(principals),
    onRequest: async (request) => { await request.jwtVerify() },
    principal: ({ user }) => (user as { sub: string }).sub,
    authenticated: true,
  })
  const token = (sub: string, options = {}): Record<string, string> => bearer(app.jwt.sign({ sub }, options))
  const session = await open(app, token('ada'))
  t.strictSame(principals, ['ada'])
  t.equal((await post(app, { ...session, ...token('ada', { expiresIn: '1h' }) }, PING)).statusCode, 200, 'another token of hers')
  t.equal((await post(app, { ...session, ...token('grace') }, PING)).statusCode, 404)
  for (const headers of [{}, bearer('x.y.z'), token('ada', { expiresIn: -1 })]) {
    const answer = await post(app, headers)
    t.ok([400, 401].includes(answer.statusCode), String(answer.statusCode))
    t.match(answer.json(), { jsonrpc: '2.0', error: { message: String, data: { code: /^FST_JWT|^FAST_JWT/ } } })
  }
})

t.test('@fastify/rate-limit: counts the routes of endpoints as any other, by the principal if told so', async (t) => {
  const { app } = await build(t, async (app) => {
    await app.register(mcpAuth, { userId: ['ada', 'grace'], hook: 'onRequest' })
    await app.register(rateLimit, { max: 2, timeWindow: 60_000, hook: 'preHandler', keyGenerator: request => request.mcpPrincipal ?? request.ip })
  })
  t.strictSame([await status(app, as('ada')), await status(app, as('ada'))], [200, 200])
  const limited = await post(app, as('ada'))
  t.equal(limited.statusCode, 429)
  t.match(limited.headers, { 'retry-after': /^\d+$/ })
  t.match(limited.json(), { jsonrpc: '2.0', error: { message: /Rate limit/ } })
  t.equal(await status(app, as('grace')), 200, 'another user has a count of her own')
})

t.test('@fastify/rate-limit: a limit for the routes of an endpoint alone, through `config`', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rateLimit, { global: false })
  await app.register(mcpStream, { connect: answering([]), config: { rateLimit: { max: 1, timeWindow: 60_000 } } })
  app.get('/other', async () => 'other')
  t.strictSame([await status(app), await status(app)], [200, 429])
  for (let n = 0; n < 3; n++) t.equal((await app.inject('/other')).statusCode, 200)
})

t.test('hooks of the endpoint run behind auth, which has found out who it is', async (t) => {
  const seen: unknown[] = []
  const { app } = await build(t, async app => await app.register(mcpAuth, { userId: 'ada', hook: 'onRequest' }), {
    onRequest: [async ({ mcpPrincipal }) => { seen.push(mcpPrincipal) }],
  })
  await status(app, as('ada'))
  t.equal((await post(app, as('eve'), INITIALIZE)).statusCode, 401)
  t.strictSame(seen, ['ada'], 'a stranger does not get that far')
})
