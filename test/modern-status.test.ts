import t from 'tap'
import { CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, LOG_LEVEL_KEY, PROTOCOL_VERSION_KEY, SERVED_REVISIONS } from '@mcp-proxy/protocol'
import { initialize, post, type Json } from './helpers/http.js'
import { META, buildFake, headersOf, modern, startFake } from './helpers/modern.js'
import { live } from './helpers/live.js'
import { refused } from './helpers/refused.js'
import { until } from './helpers/until.js'

const DISCOVER = modern(7, 'server/discover')
const HEADERS = headersOf(DISCOVER)

// the same path serves modern clients whether legacy ones get sessions or not
for (const stateless of [false, true]) {
  t.test(stateless ? 'beside a legacy endpoint without sessions' : 'beside a legacy endpoint with sessions', async (t) => {
    t.test('200: a request; no session id is read, minted or echoed, and nothing is resumed', async (t) => {
      const { app, fake } = await buildFake(t, { stateless })
      for (const more of [{}, { 'mcp-session-id': 'unknown' }, { 'last-event-id': 'nonsense' }]) {
        const answer = await post(app, DISCOVER, { ...HEADERS, ...more })
        t.equal(answer.statusCode, 200)
        t.same(answer.json(), { jsonrpc: '2.0', id: 7, result: { resultType: 'complete' } })
        t.notOk('mcp-session-id' in answer.headers)
      }
      t.equal(fake.calls.length, 3)
    })

    t.test('400, -32700 and -32600: no JSON, no message, a batch, a response', async (t) => {
      const { app, fake } = await buildFake(t, { stateless })
      refused(t, await post(app, '{', HEADERS), 400, -32700, 'MCP_ERR_PARSE')
      for (const body of ['null', '{}', '[]', '{"jsonrpc":"2.0","id":{},"method":"ping"}']) refused(t, await post(app, body, HEADERS), 400, -32600, 'MCP_ERR_INVALID_REQUEST')
      refused(t, await post(app, { jsonrpc: '2.0', id: 7, result: {} }, HEADERS), 400, -32600, 'MCP_ERR_INVALID_REQUEST')
      refused(t, await post(app, [DISCOVER], HEADERS), 400, -32600, 'MCP_ERR_BATCH')
      t.equal(fake.calls.length, 0)
    })

    t.test('415, 406, 413, 403: what is no matter of the era', async (t) => {
      const { app } = await buildFake(t, { stateless, bodyLimit: 1000 })
      refused(t, await post(app, DISCOVER, { ...HEADERS, 'content-type': 'text/plain' }), 415, -32600, 'MCP_ERR_CONTENT_TYPE')
      refused(t, await post(app, DISCOVER, { ...HEADERS, accept: 'text/html' }), 406, -32600, 'MCP_ERR_ACCEPT')
      refused(t, await post(app, modern(1, 'x', { text: 'x'.repeat(1000) }), HEADERS), 413, -32600, 'MCP_ERR_BODY_TOO_LARGE')
      refused(t, await post(app, DISCOVER, { ...HEADERS, host: 'evil.example' }), 403, -32600, 'MCP_ERR_HOST')
      refused(t, await post(app, DISCOVER, { ...HEADERS, origin: 'https://evil.example' }), 403, -32600, 'MCP_ERR_ORIGIN')
    })

    t.test('406: a subscription to a client that takes no event stream', async (t) => {
      const { app } = await buildFake(t, { stateless })
      const listen = modern(1, 'subscriptions/listen', { notifications: {} })
      refused(t, await post(app, listen, headersOf(listen, { accept: 'application/json' })), 406, -32600, 'MCP_ERR_ACCEPT', 1)
    })

    t.test('405 with Allow: POST: GET and DELETE', async (t) => {
      const { app } = await buildFake(t, { stateless })
      for (const method of ['GET', 'DELETE'] as const) {
        const answer = await app.inject({ method, url: '/stream', headers: { ...HEADERS, accept: 'text/event-stream' } })
        refused(t, answer, 405, -32600, 'MCP_ERR_METHOD_NOT_ALLOWED')
        t.equal(answer.headers.allow, 'POST')
      }
    })

    t.test('400, -32022: a revision that is not served this way, with those that are', async (t) => {
      const { app } = await buildFake(t, { stateless })
      for (const version of ['v999.0.0', '2099-01-01', '2025-11-25']) {
        const body = modern('a', 'server/discover', {}, { ...META, [PROTOCOL_VERSION_KEY]: version })
        const answer = await post(app, body, { ...HEADERS, 'mcp-protocol-version': version })
        refused(t, answer, 400, -32022, 'MCP_ERR_VERSION', 'a')
        t.match(answer.json(), { error: { data: { supported: SERVED_REVISIONS, requested: version } } })
      }
      const unclaimed = await post(app, { jsonrpc: '2.0', method: 'notifications/x' }, { 'mcp-protocol-version': '2099-01-01' })
      if (stateless) t.match(unclaimed.json(), { error: { code: -32022, data: { supported: SERVED_REVISIONS, requested: '2099-01-01' } } }, 'an unknown header alone')
    })

    t.test('400, -32602: what each request has to say of itself is missing or no such thing', async (t) => {
      const { app, fake } = await buildFake(t, { stateless })
      const without = (key: string): object => Object.fromEntries(Object.entries(META).filter(([name]) => name !== key))
      const wrong: Json[] = [
        { jsonrpc: '2.0', id: 7, method: 'server/discover' },
        { jsonrpc: '2.0', id: 7, method: 'server/discover', params: {} },
        { jsonrpc: '2.0', id: 7, method: 'server/discover', params: { _meta: null } },
        { jsonrpc: '2.0', id: 7, method: 'server/discover', params: { _meta: [] } },
        modern(7, 'server/discover', {}, without(PROTOCOL_VERSION_KEY)),
        modern(7, 'server/discover', {}, without(CLIENT_CAPABILITIES_KEY)),
        ...[7, null, ['2026-07-28']].map(value => (modern(7, 'server/discover', {}, { ...META, [PROTOCOL_VERSION_KEY]: value }))),
        ...['{}', null, []].map(value => (modern(7, 'server/discover', {}, { ...META, [CLIENT_CAPABILITIES_KEY]: value }))),
        ...['test', null, []].map(value => (modern(7, 'server/discover', {}, { ...META, [CLIENT_INFO_KEY]: value }))),
      ]
      for (const body of wrong) refused(t, await post(app, body, HEADERS), 400, -32602, 'MCP_ERR_META', 7)
      for (const level of ['loud', 'INFO', null, 3]) {
        refused(t, await post(app, modern(7, 'server/discover', {}, { ...META, [LOG_LEVEL_KEY]: level }), HEADERS), 400, -32602, 'MCP_ERR_PARAMS', 7)
      }
      t.equal(fake.calls.length, 0)
      const fine = [without(CLIENT_INFO_KEY), { ...META, [LOG_LEVEL_KEY]: 'warning' }, { ...META, 'example.com/x': 1 }]
      for (const meta of fine) t.equal((await post(app, modern(7, 'server/discover', {}, meta), HEADERS)).statusCode, 200)
    })

    t.test('400, -32020: headers that are missing or say something else', async (t) => {
      const { app, fake } = await buildFake(t, { stateless })
      const call = modern(7, 'tools/call', { name: 'echo', arguments: {} })
      const headers = headersOf(call)
      for (const name of ['mcp-protocol-version', 'mcp-method', 'mcp-name']) {
        const others = Object.fromEntries(Object.entries(headers).filter(([other]) => other !== name))
        refused(t, await post(app, call, others), 400, -32020, 'MCP_ERR_HEADER_MISMATCH', 7)
        refused(t, await post(app, call, { ...headers, [name]: String(headers[name]).toUpperCase() + '1' }), 400, -32020, 'MCP_ERR_HEADER_MISMATCH', 7)
      }
      refused(t, await post(app, modern(7, 'x', {}, { ...META, [PROTOCOL_VERSION_KEY]: 'v999.0.0' }), headersOf(modern(7, 'x'))), 400, -32020, 'MCP_ERR_HEADER_MISMATCH', 7)
      t.match((await post(app, call, { ...headers, 'mcp-name': 'other' })).json(), { error: { message: 'Header mismatch: Mcp-Name header value "other" does not match body value "echo"' } })
      t.equal(fake.calls.length, 0)
    })

    t.test('what is wrong first decides: _meta, then the version, then the revision, then the other headers', async (t) => {
      const { app } = await buildFake(t, { stateless })
      const unknown = { ...META, [PROTOCOL_VERSION_KEY]: 'v9' }
      const bare = { [PROTOCOL_VERSION_KEY]: 'v9' }
      refused(t, await post(app, modern(1, 'x', {}, bare)), 400, -32602, 'MCP_ERR_META', 1)
      refused(t, await post(app, modern(1, 'x', {}, unknown)), 400, -32020, 'MCP_ERR_HEADER_MISMATCH', 1)
      refused(t, await post(app, modern(1, 'x', {}, unknown), { 'mcp-protocol-version': 'v9' }), 400, -32022, 'MCP_ERR_VERSION', 1)
      refused(t, await post(app, modern(1, 'x', {}, { ...META, [LOG_LEVEL_KEY]: 'loud' }), { 'mcp-protocol-version': '2026-07-28' }), 400, -32020, 'MCP_ERR_HEADER_MISMATCH', 1)
    })

    t.test('the status of an error of the server: 404, 400, else 200; its code and data stay', async (t) => {
      const { app, fake } = await buildFake(t, { stateless })
      for (const [code, status] of [[-32601, 404], [-32020, 400], [-32021, 400], [-32022, 400], [-32602, 200], [-32603, 200], [-32000, 200], [-32002, 200], [42, 200]] as const) {
        fake.oncall = call => call.fail(code, { requiredCapabilities: { sampling: {} } })
        const answer = await post(app, DISCOVER, HEADERS)
        t.equal(answer.statusCode, status, String(code))
        t.same(answer.json(), { jsonrpc: '2.0', id: 7, error: { code, message: 'no', data: { requiredCapabilities: { sampling: {} } } } })
      }
    })

    t.test('methods that this revision has no more are the server\'s to refuse: 404', async (t) => {
      const { app, fake } = await buildFake(t, { stateless })
      fake.oncall = call => call.fail(-32601)
      for (const method of ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'unknown/method']) {
        const request = modern(500, method)
        const answer = await post(app, request, headersOf(request))
        t.equal(answer.statusCode, 404, method)
        t.match(answer.json(), { id: 500, error: { code: -32601 } })
        t.equal(fake.call.request.method, method)
      }
    })

    t.test('errors of the proxy keep their status, without a code that new implementations should not use', async (t) => {
      const { app, fake } = await buildFake(t, { stateless })
      for (const [code, seen, status] of [[-32000, -32603, 502], [-32001, -32603, 504], [-32019, -32603, 503], [-32603, -32603, 502], [-32601, -32601, 404]] as const) {
        fake.oncall = call => call.fail(code, { code: 'MCP_ERR_X' }, { local: true, status })
        const answer = await post(app, DISCOVER, HEADERS)
        refused(t, answer, status, seen, 'MCP_ERR_X', 7)
        t.equal(answer.headers['retry-after'], status === 503 ? '1' : undefined)
      }
      fake.oncall = call => call.fail(-32000, {}, { local: true })
      t.equal((await post(app, DISCOVER, HEADERS)).statusCode, 200, 'one that came during the call')
    })

    t.test('202: a notification, which nobody gets to see', async (t) => {
      const { app, fake } = await buildFake(t, { stateless })
      for (const params of [{ _meta: META }, { requestId: 7 }]) {
        const answer = await post(app, { jsonrpc: '2.0', method: 'notifications/cancelled', params }, { 'mcp-protocol-version': '2026-07-28' })
        t.equal(answer.statusCode, 202)
        t.equal(answer.body, '')
      }
      t.equal(fake.calls.length, 0)
    })

    t.test('503 with Retry-After: more open requests than maxSessions', async (t) => {
      const { app, fake } = await buildFake(t, { stateless, maxSessions: 1 })
      fake.oncall = () => {}
      const first = post(app, DISCOVER, HEADERS)
      await fake.called()
      const second = await post(app, DISCOVER, HEADERS)
      refused(t, second, 503, -32603, 'MCP_ERR_SESSION_LIMIT', 7)
      t.equal(second.headers['retry-after'], '1')
      fake.call.answer()
      t.equal((await first).statusCode, 200)
      fake.oncall = call => call.answer()
      t.equal((await post(app, DISCOVER, HEADERS)).statusCode, 200, 'free again')
    })

    t.test('503: the app closes; what is open ends with an error, what comes is refused', async (t) => {
      const { app, fake, url } = await startFake(t, { stateless, closeGrace: 60_000 })
      fake.oncall = () => {}
      const open = live(t, url, { method: 'POST', headers: HEADERS, body: DISCOVER })
      const held = await fake.called()
      const busy = post(app, DISCOVER, HEADERS)
      await fake.called(2)
      fake.oncall = call => call.answer()
      const closing = app.close()
      await until(async () => await refusesAll(url))
      held.answer()
      t.equal((await open).status, 200, 'a call may finish')
      fake.calls[1]?.answer()
      t.equal((await busy).statusCode, 200)
      await closing
    })

    t.test('503: calls that outlast the grace', async (t) => {
      const { app, fake } = await buildFake(t, { stateless, closeGrace: 0 })
      fake.oncall = () => {}
      const open = post(app, DISCOVER, HEADERS)
      await fake.called()
      const closing = app.close()
      refused(t, await open, 503, -32603, 'MCP_ERR_CLOSING', 7)
      await closing
      t.equal(fake.call.closed, 1)
    })
  })
}

t.test('a modern header on a path with sessions: with a session id GET and DELETE are a legacy client\'s', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.oncall = call => call.answer({ protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'fake', version: '1' } })
  const session = await initialize(app, { revision: '2025-11-25' })
  const confused = { ...session, 'mcp-protocol-version': '2026-07-28', accept: 'text/event-stream' }
  t.match((await app.inject({ url: '/stream', headers: confused })).json(), { error: { code: -32022, data: { supported: SERVED_REVISIONS.filter(revision => revision !== '2026-07-28').reverse() } } })
  t.equal((await app.inject({ method: 'DELETE', url: '/stream', headers: confused })).statusCode, 204)
})

t.test('which era a POST is', async (t) => {
  const { app, fake } = await buildFake(t)
  const eras: unknown[] = []
  fake.oncall = (call) => {
    eras.push(call.context.era)
    call.answer({ protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'fake', version: '1' } })
  }
  const handshake = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } } }
  for (const headers of [{}, { 'mcp-method': 'initialize' }, { 'mcp-protocol-version': '2025-11-25' }]) t.ok((await post(app, handshake, headers)).headers['mcp-session-id'], JSON.stringify(headers))
  t.ok((await post(app, { ...handshake, params: { ...handshake.params, _meta: META } })).headers['mcp-session-id'], 'a handshake that claims to be modern, in its body only')
  const request = modern(1, 'initialize', handshake.params)
  t.notOk((await post(app, request, headersOf(request))).headers['mcp-session-id'])
  t.match((await post(app, handshake, { 'mcp-protocol-version': '2026-07-28' })).json(), { error: { data: { code: 'MCP_ERR_META' } } })
  t.match((await post(app, modern(2, 'tools/list'))).json(), { error: { data: { code: 'MCP_ERR_HEADER_MISMATCH' } } }, 'a claim without headers')
  t.strictSame(eras, ['legacy', 'legacy', 'legacy', 'legacy', 'modern'])
})

/** Whether new requests are refused because the app closes; a connection that is refused is as good. */
async function refusesAll (url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, { method: 'POST', headers: { ...HEADERS, 'content-type': 'application/json', connection: 'close' }, body: JSON.stringify(DISCOVER) })
    await answer.text()
    return answer.status === 503
  } catch {
    return true
  }
}
