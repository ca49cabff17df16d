import t, { type Test } from 'tap'
import cors, { type FastifyCorsOptions } from '@fastify/cors'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import { mcpAuth } from '@mcp-proxy/auth'
import type { EndpointOptions } from '@mcp-proxy/endpoint'
import { mcpSse } from '@mcp-proxy/sse'
import { mcpStream } from '@mcp-proxy/stream'
import { post } from './helpers/http.js'
import { live } from './helpers/live.js'
import { Puppet } from './helpers/puppet.js'

const INITIALIZE = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } } }
const LOCAL = 'http://localhost:5173'
const SITE = 'https://site.example'

interface Setup extends EndpointOptions { userId?: string, appCors?: FastifyCorsOptions }

async function build (t: Test, { userId, appCors, ...options }: Setup = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  const { connect } = new Puppet()
  if (appCors !== undefined) await app.register(cors, appCors)
  if (userId !== undefined) await app.register(mcpAuth, { userId })
  app.get('/other', async () => 'other')
  await app.register(mcpStream, { connect, ...options })
  await app.register(mcpSse, { connect, ...options })
  return app
}

async function preflight (app: FastifyInstance, origin: string, url = '/stream', method = 'POST', asked = 'content-type,mcp-session-id'): Promise<LightMyRequestResponse> {
  return await app.inject({ method: 'OPTIONS', url, headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': asked } })
}

/** What a page of that origin may do: read the answer, and ask beforehand. A refused page gets 403 and no header. */
async function admits (t: Test, app: FastifyInstance, origin: string, expected: boolean, headers: Record<string, string> = {}): Promise<void> {
  const asked = await preflight(app, origin)
  const answer = await post(app, INITIALIZE, { origin, ...headers })
  t.equal(asked.headers['access-control-allow-origin'], expected ? origin : undefined, `preflight of ${origin}`)
  t.equal(answer.headers['access-control-allow-origin'], expected ? origin : undefined, origin)
  t.equal(answer.statusCode, expected ? 200 : 403)
  if (!expected) t.match(answer.json(), { error: { data: { code: 'MCP_ERR_ORIGIN' } } })
}

t.test('without authentication local pages may call, others get 403', async (t) => {
  const app = await build(t)
  for (const origin of [LOCAL, 'http://127.0.0.1', 'https://localhost', 'http://[::1]:80', 'http://LOCALHOST:1']) await admits(t, app, origin, true)
  for (const origin of [SITE, 'null', 'http://localhost.evil.example', 'http://evil.example:127', 'file://localhost', 'http://localhost@evil.example', 'http://127.0.0.2', '']) await admits(t, app, origin, false)
  t.equal((await post(app, INITIALIZE)).statusCode, 200, 'what is no page sends none')
})

t.test('with @mcp-proxy/auth, or `authenticated`, any page may call; without the credential it reads a 401', async (t) => {
  const app = await build(t, { userId: 'ada' })
  await admits(t, app, SITE, true, { 'x-user-id': 'ada' })
  const stranger = await post(app, INITIALIZE, { origin: SITE })
  t.equal(stranger.statusCode, 401)
  t.equal(stranger.headers['access-control-allow-origin'], SITE)
  await admits(t, await build(t, { authenticated: true }), SITE, true)
})

t.test('hooks alone do not let other pages in, they may be anything; allowedOrigins wins over authentication', async (t) => {
  await admits(t, await build(t, { onRequest: async () => {}, preHandler: async () => {} }), SITE, false)
  const app = await build(t, { userId: 'ada', allowedOrigins: 'local' })
  await admits(t, app, SITE, false, { 'x-user-id': 'ada' })
  await admits(t, await build(t, { userId: 'ada', authenticated: false }), SITE, false, { 'x-user-id': 'ada' })
  await admits(t, await build(t, { allowedOrigins: 'any' }), SITE, true)
})

t.test('lists name origins by text, which must be equal, and by RegExp, also one with state', async (t) => {
  const app = await build(t, { allowedOrigins: [SITE, /^https:\/\/[a-z]+\.team\.example$/] })
  for (const origin of [SITE, 'https://a.team.example', 'https://a.team.example']) await admits(t, app, origin, true)
  for (const origin of [LOCAL, `${SITE}:8443`, `${SITE}.evil.example`, 'http://site.example', 'https://a.team.example.evil.example']) await admits(t, app, origin, false)
  const sticky = await build(t, { allowedOrigins: [/site/g] })
  for (let round = 0; round < 3; round++) t.equal((await post(sticky, INITIALIZE, { origin: SITE })).statusCode, 200, `round ${round}`)
})

t.test('preflight tells what MCP needs, on MCP paths only, per path', async (t) => {
  const app = await build(t)
  const asked = 'content-type,mcp-session-id,mcp-protocol-version,mcp-method,mcp-name,mcp-param-region,traceparent'
  const answer = await preflight(app, LOCAL, '/stream', 'POST', asked)
  t.equal(answer.statusCode, 204)
  t.match(answer.headers, { 'access-control-allow-methods': 'GET, POST, DELETE, OPTIONS', vary: /origin/i })
  t.equal(answer.headers['access-control-allow-headers'], asked, 'names of Mcp-Param-… are open-ended')
  t.match((await preflight(app, LOCAL, '/sse', 'GET')).headers, { 'access-control-allow-methods': 'GET, OPTIONS' })
  t.match((await preflight(app, LOCAL, '/messages')).headers, { 'access-control-allow-methods': 'POST, OPTIONS' })
  t.equal((await preflight(app, LOCAL, '/other', 'GET')).statusCode, 404)
  t.notOk('access-control-allow-origin' in (await app.inject({ url: '/other', headers: { origin: LOCAL } })).headers)
  const exposed = String((await post(app, INITIALIZE, { origin: LOCAL })).headers['access-control-expose-headers'])
  for (const header of ['Mcp-Session-Id', 'WWW-Authenticate', 'Retry-After']) t.match(exposed, header)
})

t.test('cors: false sends no headers and declares no OPTIONS; the guard stays', async (t) => {
  const app = await build(t, { cors: false })
  const answer = await post(app, INITIALIZE, { origin: LOCAL })
  t.equal(answer.statusCode, 200)
  t.notOk(Object.keys(answer.headers).some(name => name.startsWith('access-control')))
  t.equal((await preflight(app, LOCAL)).statusCode, 405)
  t.equal((await post(app, INITIALIZE, { origin: SITE })).statusCode, 403)
})

t.test('an app\'s own @fastify/cors decides about origins; methods and headers are the endpoint\'s', async (t) => {
  for (const [origin, exposed] of [[SITE, SITE], [[SITE, 'https://b.example'], SITE], [/site\.example$/, SITE], [true, SITE], ['*', '*']] as const) {
    const app = await build(t, { appCors: { origin: Array.isArray(origin) ? [...origin] : origin as string | boolean | RegExp, exposedHeaders: ['X-App'] } })
    const answer = await post(app, INITIALIZE, { origin: SITE })
    t.equal(answer.statusCode, 200, String(origin))
    t.equal(answer.headers['access-control-allow-origin'], exposed)
    t.match(answer.headers['access-control-expose-headers'], 'Mcp-Session-Id')
    const asked = await preflight(app, SITE, '/stream', 'DELETE')
    t.equal(asked.statusCode, 204)
    t.match(asked.headers['access-control-allow-methods'], 'DELETE')
    const other = await app.inject({ url: '/other', headers: { origin: SITE } })
    t.equal(other.headers['access-control-allow-origin'], exposed, 'the app\'s routes keep it')
    t.equal(other.headers['access-control-expose-headers'], 'X-App')
  }
})

t.test('an app\'s own @fastify/cors that names one origin admits no other to the endpoint', async (t) => {
  for (const origin of [SITE, [SITE], /site\.example$/, false] as const) {
    const app = await build(t, { appCors: { origin: origin as string | boolean | RegExp } })
    t.equal((await post(app, INITIALIZE, { origin: 'https://evil.example' })).statusCode, 403, String(origin))
  }
})

t.test('a Host that is not this machine\'s is refused on a loopback connection', async (t) => {
  const app = await build(t)
  for (const host of ['localhost', 'localhost:8080', '127.0.0.1:1', '[::1]', '[::1]:8080', 'LocalHost', 'localhost.:80']) t.equal((await post(app, INITIALIZE, { host })).statusCode, 200, host)
  for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:80', '127.0.0.2', 'localhost:80:80', 'a localhost']) {
    const answer = await post(app, INITIALIZE, { host })
    t.equal(answer.statusCode, 403, host)
    t.match(answer.json(), { error: { data: { code: 'MCP_ERR_HOST' } } })
  }
})

t.test('allowedHosts names more, with or without a port; "any" turns the guard off', async (t) => {
  const app = await build(t, { allowedHosts: ['MCP.example', 'ported.example:8443'] })
  for (const [host, status] of [['mcp.example', 200], ['mcp.example:443', 200], ['Mcp.Example', 200], ['ported.example:8443', 200], ['localhost', 200], ['ported.example', 403], ['ported.example:1', 403], ['a.mcp.example', 403]] as const) {
    t.equal((await post(app, INITIALIZE, { host })).statusCode, status, host)
  }
  t.equal((await post(await build(t, { allowedHosts: 'any' }), INITIALIZE, { host: 'evil.example' })).statusCode, 200)
})

t.test('Host and Origin are checked on every route, over a socket too', async (t) => {
  const app = await build(t)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  for (const [method, path] of [['GET', '/sse'], ['POST', '/messages'], ['GET', '/stream'], ['DELETE', '/stream']] as const) {
    for (const headers of [{ host: 'evil.example' }, { origin: SITE }]) {
      const answer = await live(t, url + path, { method, headers, ...(method === 'POST' && { body: INITIALIZE }) })
      t.equal(answer.status, 403, `${method} ${path} ${Object.keys(headers).join('')}`)
    }
  }
})
