import t from 'tap'
import { buildProxy, startProxy } from './helpers/app.js'
import { call, initialize, post } from './helpers/http.js'
import { live } from './helpers/live.js'
import { buildPuppet, startPuppet } from './helpers/puppet.js'
import { until } from './helpers/until.js'

const INITIALIZE = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } } }

t.test('502: a command that does not exist, and no session is left', async (t) => {
  const app = await buildProxy(t, { command: ['/nowhere/at-all'], maxSessions: 1, restart: { maxFailures: 100, delay: 1 } })
  for (const round of [1, 2]) {
    const answer = await post(app, { ...INITIALIZE, id: round })
    t.equal(answer.statusCode, 502)
    t.match(answer.json(), { id: round, error: { code: -32000, data: { code: 'MCP_ERR_CHILD_START' } } })
    t.notOk('mcp-session-id' in answer.headers)
  }
})

t.test('502: a server that dies at start; what it wrote to stderr stays here', async (t) => {
  const app = await buildProxy(t, { env: { MCP_CHILD_EXIT: '3', MCP_CHILD_STDERR: 'a secret of the operator' } })
  const answer = await post(app, INITIALIZE)
  t.equal(answer.statusCode, 502)
  t.match(answer.json(), { id: 0, error: { code: -32000, message: /exit code 3/, data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  t.notMatch(answer.body, /secret/)
})

t.test('502: a server that does not answer the handshake', async (t) => {
  const app = await buildProxy(t, { env: { MCP_CHILD_SILENT: '1' }, startTimeout: 100 })
  const answer = await post(app, INITIALIZE)
  t.equal(answer.statusCode, 502)
  t.match(answer.json(), { error: { code: -32000, data: { code: 'MCP_ERR_CHILD_HANDSHAKE' } } })
})

t.test('200 with an error: the server dies during a call; the session goes on', async (t) => {
  const app = await buildProxy(t)
  const session = await initialize(app)
  const answer = await post(app, call('x', 'exit', { code: 7 }), session)
  t.equal(answer.statusCode, 200)
  t.match(answer.json(), { id: 'x', error: { code: -32000, message: /exit code 7/, data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  // the new server comes with list_changed, which may stand before the answer
  t.match((await post(app, call(2, 'echo', { text: 'on' }), session)).body, /"text":"on"/)
})

t.test('200 with -32001: no answer within requestTimeout; the server is told', async (t) => {
  const app = await buildProxy(t, { requestTimeout: 300 })
  const session = await initialize(app)
  const answer = await post(app, call('slow', 'never', { label: 'slow' }), session)
  t.equal(answer.statusCode, 200)
  t.match(answer.json(), { id: 'slow', error: { code: -32001, message: /\d+ ms/, data: { code: 'MCP_ERR_REQUEST_TIMEOUT' } } })
  let id = 0
  await until(async () => (await post(app, call(++id, 'labels', { state: 'cancelled' }), session)).body.includes('slow'))
})

t.test('503 with Retry-After: one session too many; a place that becomes free is given away', async (t) => {
  const { app } = await buildPuppet(t, { stream: { maxSessions: 2 }, sse: { maxSessions: 2 } })
  const session = await initialize(app)
  await initialize(app)
  const refused = await post(app, INITIALIZE)
  t.equal(refused.statusCode, 503)
  t.match(refused.headers['retry-after'], /^\d+$/)
  t.match(refused.json(), { id: 0, error: { code: -32000, data: { code: 'MCP_ERR_SESSION_LIMIT' } } })
  await app.inject({ method: 'DELETE', url: '/stream', headers: session })
  t.equal((await post(app, INITIALIZE)).statusCode, 200)
})

t.test('503 with Retry-After: a server that keeps dying', async (t) => {
  const app = await buildProxy(t, { env: { MCP_CHILD_EXIT: '1' }, restart: { maxFailures: 1, coolDown: 7_000 } })
  t.equal((await post(app, INITIALIZE)).statusCode, 502)
  const answer = await post(app, INITIALIZE)
  t.equal(answer.statusCode, 503)
  t.match(answer.headers['retry-after'], /^[1-7]$/)
  t.match(answer.json(), { error: { data: { code: 'MCP_ERR_CHILD_UNAVAILABLE' } } })
})

t.test('503 while the app closes; a call that is open gets its answer in closeGrace', async (t) => {
  const { app, puppet, url } = await startPuppet(t, { stream: { closeGrace: 60_000 } })
  const session = await initialize(app)
  const open = live(t, `${url}/stream`, { method: 'POST', headers: session, body: call(1, 'x') })
  const { party } = puppet
  await party.called(1)
  const closed = app.close()
  t.equal((await post(app, INITIALIZE)).statusCode, 503)
  void party.answer(1, { done: true })
  const answer = await open
  t.equal(await answer.ended, 'whole')
  t.match(JSON.parse(answer.text), { id: 1, result: { done: true } })
  await closed
})

t.test('an app that closes ends calls that take longer than closeGrace', async (t) => {
  const { app, puppet, url } = await startPuppet(t, { stream: { closeGrace: 50 } })
  const session = await initialize(app)
  const open = live(t, `${url}/stream`, { method: 'POST', headers: session, body: call(1, 'x') })
  await puppet.party.called(1)
  await app.close()
  const answer = await open
  await answer.ended
  t.equal(answer.status, 503)
  t.match(answer.response.headers['retry-after'], /^\d+$/)
  t.match(JSON.parse(answer.text), { id: 1, error: { data: { code: 'MCP_ERR_CLOSING' } } })
})

t.test('a client that accepts JSON alone gets JSON; what came before waits for its GET', async (t) => {
  const { app, url } = await startProxy(t, { isolation: 'session' })
  const session = await initialize(app)
  const answer = await post(app, call(1, 'log', { data: 'before' }), { ...session, accept: 'application/json' })
  t.match(answer.headers['content-type'], /^application\/json/)
  t.match(answer.json(), { id: 1, result: { content: [{ text: 'logged' }] } })
  const stream = await live(t, `${url}/stream`, { headers: session })
  await stream.until('before')
  t.strictSame(stream.said, ['before'])
})

t.test('a client that accepts event streams alone gets one', async (t) => {
  const { app } = await buildPuppet(t)
  const session = await initialize(app, { headers: { accept: 'text/event-stream' } })
  const answer = await post(app, { jsonrpc: '2.0', id: 1, method: 'ping' }, session)
  t.equal(answer.headers['content-type'], 'text/event-stream')
  t.match(answer.body, /data: {"jsonrpc":"2.0","id":1,"result":{}}/)
  t.ok('mcp-session-id' in (await post(app, INITIALIZE, { accept: 'text/event-stream' })).headers)
})
