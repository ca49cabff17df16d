import t from 'tap'
import type { LightMyRequestResponse } from 'fastify'
import { CLIENT_CAPABILITIES_KEY } from '@mcp-proxy/protocol'
import { buildProxy } from './helpers/app.js'
import { call, initialize, post } from './helpers/http.js'
import { META, headersOf, modern } from './helpers/modern.js'

type App = Awaited<ReturnType<typeof buildProxy>>

async function ask (app: App, session: Record<string, string>, id: string | number, tool: string, args: object = {}): Promise<string> {
  const answer = await post(app, call(id, tool, args), session)
  const { result } = answer.json<{ result?: { content: Array<{ text: string }> } }>()
  return result?.content[0]?.text ?? answer.body
}

t.test('request: every call has a child of its own, and children are kept ready', async (t) => {
  const app = await buildProxy(t, { isolation: 'request', warm: { size: 2 } })
  const session = await initialize(app)
  const pids = await Promise.all([1, 2, 3, 4].map(id => ask(app, session, id, 'pid')))
  t.equal(new Set(pids).size, 4, 'four calls, four processes')
  t.ok(pids.every(pid => /^\d+$/.test(pid)))
})

t.test('request: a child is replaced after as many calls as it may serve', async (t) => {
  const app = await buildProxy(t, { isolation: 'request', warm: { size: 1, recycleAfter: 2 } })
  const session = await initialize(app)
  const pids: string[] = []
  for (let id = 1; id <= 6; id++) pids.push(await ask(app, session, id, 'pid'))
  const counts = new Map<string, number>()
  for (const pid of pids) counts.set(pid, (counts.get(pid) ?? 0) + 1)
  t.ok([...counts.values()].every(count => count <= 2), `no child serves more than two calls: ${pids.join(' ')}`)
})

t.test('request: a child that dies fails its own call and no other', async (t) => {
  const app = await buildProxy(t, { isolation: 'request' })
  const session = await initialize(app)
  const [dead, alive] = await Promise.all([ask(app, session, 1, 'exit'), ask(app, session, 2, 'echo', { text: 'alive' })])
  t.match(dead, /MCP_ERR_CHILD_EXITED/)
  t.equal(alive, 'alive')
  t.equal(await ask(app, session, 3, 'echo', { text: 'again' }), 'again')
})

t.test('request: what concerns the session is answered without a child', async (t) => {
  const app = await buildProxy(t, { isolation: 'request' })
  const session = await initialize(app)
  t.same((await post(app, { jsonrpc: '2.0', id: 1, method: 'ping' }, session)).json(), { jsonrpc: '2.0', id: 1, result: {} })
  t.same((await post(app, { jsonrpc: '2.0', id: 2, method: 'logging/setLevel', params: { level: 'error' } }, session)).json(), { jsonrpc: '2.0', id: 2, result: {} })
  t.match((await post(app, { jsonrpc: '2.0', id: 3, method: 'resources/subscribe', params: { uri: 'x:/' } }, session)).json(), { error: { code: -32601 } })
})

t.test('principal: a child for each user, shared by all sessions of that user', async (t) => {
  const app = await buildProxy(t, { isolation: 'principal', userId: ['ada', 'grace'] })
  const sessions = await Promise.all(['ada', 'ada', 'grace'].map(id => initialize(app, { headers: { 'x-user-id': id } })))
  const [a, b, c] = await Promise.all(sessions.map((session, n) => ask(app, session, n, 'pid')))
  t.equal(a, b)
  t.not(a, c)
})

t.test('a function names what sessions share a child by', async (t) => {
  const app = await buildProxy(t, { isolation: ({ request }) => String(request?.headers['x-team']) })
  const sessions = await Promise.all(['red', 'red', 'blue'].map(team => initialize(app, { headers: { 'x-team': team } })))
  const [a, b, c] = await Promise.all(sessions.map((session, n) => ask(app, session, n, 'pid')))
  t.equal(a, b)
  t.not(a, c)
})

t.test('credentials of a client reach its own child only', async (t) => {
  const app = await buildProxy(t, { isolation: 'session', childEnv: ({ request, principal }) => ({ TOKEN: String(request?.headers['x-token']), WHO: principal ?? 'nobody' }) })
  const [one, two] = await Promise.all(['s1', 's2'].map(token => initialize(app, { headers: { 'x-token': token } })))
  t.match(JSON.parse(await ask(app, one as Record<string, string>, 1, 'env')), { TOKEN: 's1', WHO: 'nobody' })
  t.match(JSON.parse(await ask(app, two as Record<string, string>, 1, 'env')), { TOKEN: 's2' })
})

t.test('credentials are refused at start where the child would be shared', async (t) => {
  for (const isolation of ['shared', 'auto', 'request'] as const) {
    await t.rejects(buildProxy(t, { isolation, childEnv: () => ({}) }), { code: 'MCP_ERR_OPTION', message: /childEnv/ }, isolation)
  }
})

t.test('maxChildren: one session too many waits, and is refused with 503 when nothing becomes free', async (t) => {
  const app = await buildProxy(t, { isolation: 'session', maxChildren: 2, queueTimeout: 50 })
  const first = await initialize(app)
  await initialize(app)
  const refused = await post(app, { jsonrpc: '2.0', id: 9, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 't', version: '1' } } })
  t.equal(refused.statusCode, 503)
  t.equal(refused.headers['retry-after'], '1')
  t.match(refused.json(), { id: 9, error: { data: { code: 'MCP_ERR_CHILD_LIMIT' } } })
  t.notOk(refused.headers['mcp-session-id'], 'and leaves no session')
  await app.inject({ method: 'DELETE', url: '/stream', headers: first })
  const deadline = Date.now() + 10_000
  let session: Record<string, string> | undefined
  while (session === undefined && Date.now() < deadline) session = await initialize(app).catch(() => undefined)
  t.ok(session, 'the place of a session that has ended is taken again')
})

t.test('maxChildren: a client that waits gets the child that becomes free', async (t) => {
  const app = await buildProxy(t, { isolation: 'session', maxChildren: 1, queueTimeout: 20_000, stopTimeout: 1_000 })
  const first = await initialize(app)
  const second = initialize(app)
  await app.inject({ method: 'DELETE', url: '/stream', headers: first })
  t.equal(await ask(app, await second, 1, 'echo', { text: 'my turn' }), 'my turn')
})

t.test('a child that several could share makes way when nobody uses it', async (t) => {
  const app = await buildProxy(t, { isolation: 'principal', userId: ['ada', 'grace'], maxChildren: 1 })
  const ada = await initialize(app, { headers: { 'x-user-id': 'ada' } })
  await ask(app, ada, 1, 'pid')
  await app.inject({ method: 'DELETE', url: '/stream', headers: ada })
  const grace = await initialize(app, { headers: { 'x-user-id': 'grace' } })
  t.equal(await ask(app, grace, 1, 'echo', { text: 'hello' }), 'hello')
})

t.test('maxChildren: calls that wait for the input of one user leave room for others', async (t) => {
  const app = await buildProxy(t, { userId: ['ann', 'bob'], maxChildren: 4, queueTimeout: 5_000, closeGrace: 0 })
  const asking = { ...META, [CLIENT_CAPABILITIES_KEY]: { roots: {} } }
  const ask = async (id: number, user: string): Promise<LightMyRequestResponse> => {
    const request = modern(id, 'tools/call', { name: 'ask', arguments: { method: 'roots/list', n: id } }, asking)
    return await post(app, request, headersOf(request, { 'x-user-id': user }))
  }
  for (let id = 1; id <= 5; id++) t.match((await ask(id, 'ann')).json(), { result: { resultType: 'input_required' } })
  t.match((await ask(6, 'bob')).json(), { result: { resultType: 'input_required' } })
  const plain = modern(7, 'tools/call', { name: 'echo', arguments: { text: 'hi' } })
  t.match((await post(app, plain, headersOf(plain, { 'x-user-id': 'bob' }))).json(), { result: { content: [{ text: 'hi' }] } })
})

t.test('maxPendingCalls: one call too many is refused with 503', async (t) => {
  const app = await buildProxy(t, { maxPendingCalls: 2, closeGrace: 0 })
  const session = await initialize(app)
  void post(app, call(1, 'never'), session)
  void post(app, call(2, 'never'), session)
  const refused = await post(app, call(3, 'echo'), session)
  t.equal(refused.statusCode, 503)
  t.match(refused.json(), { id: 3, error: { data: { code: 'MCP_ERR_CALL_LIMIT' } } })
})
