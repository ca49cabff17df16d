import t from 'tap'
import type { SessionInfo } from '@mcp-proxy/endpoint'
import { buildProxy, childrenOf, startProxy } from './helpers/app.js'
import { call, initialize, messages, post } from './helpers/http.js'
import { live } from './helpers/live.js'
import { buildPuppet, startPuppet } from './helpers/puppet.js'
import { until } from './helpers/until.js'

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }

t.test('a session without a request or a stream ends after idleTimeout, one with either does not', async (t) => {
  const closed: string[] = []
  const { app, puppet, url } = await startPuppet(t, { stream: { idleTimeout: 40, onSessionClose: ({ id }) => { closed.push(id) } } })
  const sessions = await Promise.all([1, 2, 3].map(() => initialize(app)))
  const [idle, listening, calling] = sessions as [Record<string, string>, Record<string, string>, Record<string, string>]
  const stream = await live(t, `${url}/stream`, { headers: listening })
  const open = post(app, call(7, 'x'), calling)
  await until(() => closed.length === 1)
  t.strictSame(closed, [idle['mcp-session-id']])
  t.equal((await post(app, PING, idle)).statusCode, 404)
  t.equal(puppet.parties.filter(party => party.closed).length, 1)
  const caller = puppet.parties.find(({ heard }) => heard.some(({ rawId }) => rawId === '7'))
  void caller?.answer(7)
  t.equal((await open).statusCode, 200)
  stream.leave()
  await until(() => closed.length === 3)
  t.strictSame(new Set(closed), new Set(sessions.map(session => session['mcp-session-id'])))
})

t.test('idleTimeout: 0 ends no session', async (t) => {
  const { app } = await buildPuppet(t, { stream: { idleTimeout: 0 } })
  const session = await initialize(app)
  t.intercept(Date, 'now', { value: () => 8.64e15 })
  t.equal((await post(app, PING, session)).statusCode, 200)
})

t.test('session hooks hear of every session, once, with its principal', async (t) => {
  const told: Array<[string, SessionInfo]> = []
  const hooks = { onSessionOpen: (session: SessionInfo) => { told.push(['open', session]) }, onSessionClose: (session: SessionInfo) => { told.push(['close', session]) } }
  const { app } = await buildPuppet(t, { stream: { ...hooks, principal: () => 'ann' } })
  const session = await initialize(app)
  const info = { id: session['mcp-session-id'], transport: 'stream', principal: 'ann' }
  t.strictSame(told, [['open', info]])
  await app.inject({ method: 'DELETE', url: '/stream', headers: session })
  await app.inject({ method: 'DELETE', url: '/stream', headers: session })
  t.strictSame(told, [['open', info], ['close', info]])
  await initialize(app)
  await app.close()
  t.strictSame(told.map(([what]) => what), ['open', 'close', 'open', 'close'], 'closing the app ends sessions too')
})

for (const [how, hook] of Object.entries({ throws: () => { throw new Error('hook failed') }, rejects: async () => { throw new Error('hook failed') } })) {
  t.test(`a session hook that ${how} is logged and harms nothing`, async (t) => {
    const lines: string[] = []
    const { app } = await buildPuppet(t, {
      stream: { onSessionOpen: hook, onSessionClose: hook },
      server: { logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } },
    })
    const session = await initialize(app)
    t.equal((await post(app, PING, session)).statusCode, 200)
    t.equal((await app.inject({ method: 'DELETE', url: '/stream', headers: session })).statusCode, 204)
    await until(() => lines.length === 2)
    t.ok(lines.every(line => line.includes('hook failed')))
  })
}

t.test('paths of one endpoint share its sessions', async (t) => {
  const { app } = await buildPuppet(t, { stream: { path: ['/mcp', '/stream'] } })
  const session = await initialize(app, { url: '/mcp' })
  t.equal((await post(app, PING, session, '/stream')).statusCode, 200)
})

t.test('bad options fail at start and are named', async (t) => {
  for (const [option, value] of [['idleTimeout', -1], ['maxSessions', 0], ['maxConnectionAge', 1.5], ['retryInterval', -1], ['keepAliveInterval', Number.NaN], ['closeGrace', 2 ** 31], ['bodyLimit', 0], ['maxQueuedBytes', 1], ['path', 'mcp'], ['path', '/mcp?x']] as const) {
    await t.rejects(buildPuppet(t, { stream: { [option]: value } }), { code: 'MCP_ERR_OPTION', message: new RegExp(option) }, option)
  }
})

t.test('stateless: every POST by itself, no session id, no GET, no DELETE', async (t) => {
  const app = await buildProxy(t, { stream: { stateless: true } })
  const opened = await post(app, { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } } })
  t.equal(opened.statusCode, 200)
  t.notOk('mcp-session-id' in opened.headers)
  t.match((await post(app, call(1, 'echo', { text: 'hi' }))).json(), { id: 1, result: { content: [{ text: 'hi' }] } })
  t.match((await post(app, call(1, 'echo', { text: 'hi' }), { 'mcp-session-id': 'left from elsewhere' })).json(), { id: 1, result: {} })
  t.match(messages((await post(app, call(2, 'progress', { count: 2 }, { progressToken: 1 }))).body), [{ params: { progress: 1 } }, { params: { progress: 2 } }, { id: 2 }])
  t.equal((await post(app, { jsonrpc: '2.0', method: 'notifications/initialized' })).statusCode, 202)
  t.strictSame((await post(app, [PING, { ...PING, id: 2 }], { 'mcp-protocol-version': '2025-03-26' })).json<object[]>().length, 2)
  t.equal((await post(app, [PING], { 'mcp-protocol-version': '2025-06-18' })).statusCode, 400)
  for (const method of ['GET', 'DELETE', 'HEAD'] as const) {
    const answer = await app.inject({ method, url: '/stream', headers: { accept: '*/*' } })
    t.equal(answer.statusCode, 405, method)
    t.equal(answer.headers.allow, 'POST')
  }
  t.equal(childrenOf(app).length, 1)
})

t.test('stateless: what the server asks is refused, since nobody could post the answer', async (t) => {
  const { app, puppet } = await buildPuppet(t, { stream: { stateless: true } })
  const open = post(app, call(1, 'x'))
  await until(() => puppet.parties.length === 1)
  await puppet.party.called(1)
  void puppet.party.ask('"q"', 'roots/list')
  await until(() => puppet.party.heard.length === 2)
  t.match(JSON.parse(String(puppet.party.heard[1]?.bytes)), { id: 'q', error: { code: -32601 } })
  void puppet.party.answer(1)
  const answer = await open
  t.match(answer.headers['content-type'], /json/)
  t.ok(puppet.party.closed)
})

t.test('stateless: a client that leaves has its call cancelled', async (t) => {
  const { app, puppet, url } = await startPuppet(t, { stream: { stateless: true } })
  const leaving = live(t, `${url}/stream`, { method: 'POST', body: call(1, 'x') })
  await until(() => puppet.parties.length === 1)
  void puppet.party.say('first', 1)
  const answer = await leaving
  await answer.until('first')
  t.notMatch(answer.text, /^id:/m)
  answer.leave()
  await until(() => puppet.party.closed)
  await app.close()
})

t.test('a session may have as many streams open by GET as maxStreams says', async (t) => {
  const { app, url } = await startProxy(t, { stream: { maxStreams: 1 } })
  const session = await initialize(app)
  const headers = { ...session, accept: 'text/event-stream' }
  const first = await fetch(`${url}/stream`, { headers })
  t.equal(first.status, 200)
  const refused = await fetch(`${url}/stream`, { headers })
  t.equal(refused.status, 503)
  t.match(await refused.json(), { error: { data: { code: 'MCP_ERR_STREAM_LIMIT' } } })
  await first.body?.cancel()
  // the place is free when the proxy has seen the client go
  let status = 503
  while (status === 503) {
    const again = await fetch(`${url}/stream`, { headers })
    status = again.status
    await again.body?.cancel()
  }
  t.equal(status, 200)
})
