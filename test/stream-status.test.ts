import t from 'tap'
import { Agent } from 'node:http'
import { LEGACY_REVISIONS, SERVED_REVISIONS } from '@mcp-proxy/protocol'
import { buildProxy, startProxy } from './helpers/app.js'
import { call, initialize, messages, post } from './helpers/http.js'
import { live } from './helpers/live.js'
import { buildPuppet } from './helpers/puppet.js'
import { refused } from './helpers/refused.js'
import { until } from './helpers/until.js'

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }
const INITIALIZE = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } } }

t.test('400, -32700: a body that is not JSON', async (t) => {
  const { app } = await buildPuppet(t)
  const session = await initialize(app)
  for (const body of ['{', 'hello', '', '{"jsonrpc":"2.0"', '\uFEFF{}']) refused(t, await post(app, body, session), 400, -32700, 'MCP_ERR_PARSE')
})

t.test('400, -32600: JSON that is no JSON-RPC message, or that parsers read differently', async (t) => {
  const { app, puppet } = await buildPuppet(t)
  const session = await initialize(app)
  const { length } = puppet.party.heard
  for (const body of ['null', '7', '"ping"', '{}', '[]', '[1]', '{"jsonrpc":"1.0","id":1,"method":"ping"}', '{"jsonrpc":"2.0","id":{},"method":"ping"}', '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', '{"jsonrpc":"2.0","ID":1,"method":"ping"}']) {
    const answer = await post(app, body, session)
    t.equal(answer.statusCode, 400, body)
    t.match(answer.json(), { error: { code: -32600, data: { code: 'MCP_ERR_INVALID_REQUEST' } } }, body)
  }
  t.equal(puppet.party.heard.length, length, 'the server heard nothing of it')
})

t.test('a batch is served to a session of 2025-03-26, as one array', async (t) => {
  const { app } = await buildPuppet(t)
  const session = await initialize(app, { revision: '2025-03-26' })
  const answer = await post(app, [PING, { jsonrpc: '2.0', method: 'notifications/x' }, { ...PING, id: 'b' }], session)
  t.equal(answer.statusCode, 200)
  t.match(answer.headers['content-type'], /^application\/json/)
  t.strictSame(answer.json(), [{ jsonrpc: '2.0', id: 1, result: {} }, { jsonrpc: '2.0', id: 'b', result: {} }])
  t.strictSame((await post(app, [{ ...PING, id: 3 }], session)).json(), [{ jsonrpc: '2.0', id: 3, result: {} }], 'one in an array comes back in an array')
  const silent = await post(app, [{ jsonrpc: '2.0', method: 'notifications/x' }], session)
  t.equal(silent.statusCode, 202, 'no request, no answer')
})

t.test('a batch is served to a session of 2025-03-26, as one stream when something comes first', async (t) => {
  const app = await buildProxy(t)
  const session = await initialize(app, { revision: '2025-03-26' })
  const answer = await post(app, [call(1, 'progress', { count: 2 }, { progressToken: 'p' }), call(2, 'echo', { text: 'second' })], session)
  t.match(answer.headers['content-type'], 'text/event-stream')
  t.match(messages(answer.body), [{ params: { progress: 1 } }, { params: { progress: 2 } }, { id: 1 }, { id: 2, result: { content: [{ text: 'second' }] } }])
})

t.test('400, -32600: a batch in any other revision, whatever the header says', async (t) => {
  const { app } = await buildPuppet(t)
  for (const revision of LEGACY_REVISIONS.filter(revision => revision !== '2025-03-26')) {
    const session = await initialize(app, { revision })
    refused(t, await post(app, [PING], session), 400, -32600, 'MCP_ERR_BATCH')
    refused(t, await post(app, [PING], { ...session, 'mcp-protocol-version': '2025-03-26' }), 400, -32600, 'MCP_ERR_BATCH')
  }
})

t.test('400: a batch with initialize in it, or with one id twice', async (t) => {
  const { app } = await buildPuppet(t)
  refused(t, await post(app, [INITIALIZE]), 400, -32600, 'MCP_ERR_BATCH_INITIALIZE')
  const session = await initialize(app, { revision: '2025-03-26' })
  refused(t, await post(app, [PING, PING], session), 400, -32600, 'MCP_ERR_ID_IN_USE')
})

t.test('415: another Content-Type than application/json, or none', async (t) => {
  const { app } = await buildPuppet(t)
  const session = await initialize(app)
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', 'nonsense']) refused(t, await post(app, PING, { ...session, 'content-type': type }), 415, -32600, 'MCP_ERR_CONTENT_TYPE')
  const answer = await app.inject({ method: 'POST', url: '/stream', headers: session, payload: Buffer.from(JSON.stringify(PING)) })
  refused(t, answer, 415, -32600, 'MCP_ERR_CONTENT_TYPE')
  t.equal((await post(app, PING, { ...session, 'content-type': 'application/json; charset=utf-8' })).statusCode, 200, 'parameters are fine')
})

t.test('406: Accept that excludes what the route answers with', async (t) => {
  const { app } = await buildPuppet(t)
  const session = await initialize(app)
  for (const accept of ['text/html', 'image/*', '*/*;q=0']) refused(t, await post(app, PING, { ...session, accept }), 406, -32600, 'MCP_ERR_ACCEPT')
  for (const accept of ['application/json', 'text/event-stream;q=0, */*']) refused(t, await app.inject({ url: '/stream', headers: { ...session, accept } }), 406, -32600, 'MCP_ERR_ACCEPT')
  for (const accept of ['*/*', 'application/*', 'Application/JSON;q=0.5']) t.equal((await post(app, PING, { ...session, accept })).statusCode, 200, accept)
})

t.test('413: a body over the limit; its socket and the session stay usable', async (t) => {
  const { app, url } = await startProxy(t, { bodyLimit: 1000 })
  const session = await initialize(app)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const ports = new Set<number | undefined>()
  const send = async (text: string): Promise<{ status: number, body: unknown }> => {
    const answer = await live(t, `${url}/stream`, { method: 'POST', headers: session, body: call(1, 'echo', { text }), agent })
    ports.add(answer.response.socket.localPort)
    await answer.ended
    return { status: answer.status, body: JSON.parse(answer.text) }
  }
  t.match(await send('x'.repeat(2000)), { status: 413, body: { error: { code: -32600, message: /1000 bytes/, data: { code: 'MCP_ERR_BODY_TOO_LARGE' } } } })
  t.match(await send('small'), { status: 200, body: { result: { content: [{ text: 'small' }] } } })
  t.equal(ports.size, 1, 'on the same socket')
})

t.test('400: no session id where one is needed', async (t) => {
  const { app } = await buildPuppet(t)
  refused(t, await post(app, PING), 400, -32600, 'MCP_ERR_SESSION_REQUIRED', 1)
  refused(t, await post(app, { jsonrpc: '2.0', method: 'notifications/initialized' }), 400, -32600, 'MCP_ERR_SESSION_REQUIRED')
  for (const method of ['GET', 'DELETE'] as const) refused(t, await app.inject({ method, url: '/stream', headers: { accept: 'text/event-stream' } }), 400, -32600, 'MCP_ERR_SESSION_REQUIRED')
})

t.test('404: an unknown session, with every method, never a new one', async (t) => {
  const { app, puppet } = await buildPuppet(t)
  const headers = { 'mcp-session-id': '2c9f8a52-0000-4000-8000-000000000000', accept: 'text/event-stream, application/json' }
  refused(t, await post(app, PING, headers), 404, -32001, 'MCP_ERR_SESSION_NOT_FOUND', 1)
  refused(t, await post(app, INITIALIZE, headers), 404, -32001, 'MCP_ERR_SESSION_NOT_FOUND', 0)
  for (const method of ['GET', 'DELETE'] as const) refused(t, await app.inject({ method, url: '/stream', headers }), 404, -32001, 'MCP_ERR_SESSION_NOT_FOUND')
  t.equal(puppet.parties.length, 0)
})

t.test('404: another principal\'s session, with every method; its owner goes on', async (t) => {
  const { app } = await buildPuppet(t, { stream: { principal: request => String(request.headers['x-me']) } })
  const session = await initialize(app, { headers: { 'x-me': 'ann' } })
  const foreign = { ...session, 'x-me': 'bob', accept: 'text/event-stream, application/json' }
  refused(t, await post(app, PING, foreign), 404, -32001, 'MCP_ERR_SESSION_NOT_FOUND', 1)
  for (const method of ['GET', 'DELETE'] as const) refused(t, await app.inject({ method, url: '/stream', headers: foreign }), 404, -32001, 'MCP_ERR_SESSION_NOT_FOUND')
  t.equal((await post(app, PING, session)).statusCode, 200)
})

t.test('400: initialize with a live session', async (t) => {
  const { app } = await buildPuppet(t)
  refused(t, await post(app, INITIALIZE, await initialize(app)), 400, -32600, 'MCP_ERR_SESSION_INITIALIZED', 0)
})

t.test('400: the id of a request that is still open; 1 and "1" are different ids', async (t) => {
  const { app, puppet } = await buildPuppet(t)
  const session = await initialize(app)
  const open = post(app, call(1, 'x'), session)
  await puppet.party.called(1)
  refused(t, await post(app, call(1, 'x'), session), 400, -32600, 'MCP_ERR_ID_IN_USE', 1)
  t.equal((await post(app, { ...PING, id: '1' }, session)).statusCode, 200)
  void puppet.party.answer(1)
  t.equal((await open).statusCode, 200)
  t.equal((await post(app, PING, session)).statusCode, 200, 'free again')
})

t.test('204: DELETE of a live session, then 404; what it held is released', async (t) => {
  const { app, puppet } = await buildPuppet(t)
  const session = await initialize(app)
  const open = post(app, call(5, 'x'), session)
  await puppet.party.called(5)
  const ended = await app.inject({ method: 'DELETE', url: '/stream', headers: { ...session, 'content-type': 'application/json' } })
  t.equal(ended.statusCode, 204)
  refused(t, await open, 404, -32000, 'MCP_ERR_SESSION_ENDED', 5)
  await until(() => puppet.party.closed)
  refused(t, await app.inject({ method: 'DELETE', url: '/stream', headers: session }), 404, -32001, 'MCP_ERR_SESSION_NOT_FOUND')
  refused(t, await post(app, PING, session), 404, -32001, 'MCP_ERR_SESSION_NOT_FOUND', 1)
})

t.test('405 with Allow: other methods, HEAD too', async (t) => {
  const { app } = await buildPuppet(t)
  const session = await initialize(app)
  for (const method of ['HEAD', 'PUT', 'PATCH'] as const) {
    const answer = await app.inject({ method, url: '/stream', headers: { ...session, accept: '*/*' } })
    t.equal(answer.statusCode, 405, method)
    t.equal(answer.headers.allow, 'GET, POST, DELETE')
    if (method !== 'HEAD') t.match(answer.json(), { error: { data: { code: 'MCP_ERR_METHOD_NOT_ALLOWED' } } })
  }
})

t.test('403: a Host or an Origin that is not allowed', async (t) => {
  const { app } = await buildPuppet(t)
  refused(t, await post(app, INITIALIZE, { host: 'evil.example' }), 403, -32600, 'MCP_ERR_HOST')
  refused(t, await post(app, INITIALIZE, { origin: 'https://evil.example' }), 403, -32600, 'MCP_ERR_ORIGIN')
})

t.test('400, -32022: an MCP-Protocol-Version that is not served, with those that are', async (t) => {
  const { app } = await buildPuppet(t)
  const session = await initialize(app)
  for (const version of ['1999-01-01', 'latest', '2025-06-18, 2025-06-18']) {
    const answer = await post(app, PING, { ...session, 'mcp-protocol-version': version })
    refused(t, answer, 400, -32022, 'MCP_ERR_VERSION', 1)
    t.match(answer.json(), { error: { data: { supported: SERVED_REVISIONS, requested: version } } })
    t.equal((await app.inject({ url: '/stream', headers: { ...session, accept: 'text/event-stream', 'mcp-protocol-version': version } })).statusCode, 400, 'GET')
  }
})

t.test('400: a Last-Event-ID of no stream of this session', async (t) => {
  const { app } = await buildPuppet(t)
  const session = await initialize(app)
  for (const id of ['nonsense', '_1', '__proto___1']) refused(t, await app.inject({ url: '/stream', headers: { ...session, accept: 'text/event-stream', 'last-event-id': id } }), 400, -32600, 'MCP_ERR_EVENT_NOT_FOUND')
})
