import t from 'tap'
import fc from 'fast-check'
import { legacyOverModern, type JsonRpcMessage } from '@mcp-proxy/protocol'
import { LegacyClient, isStamped, makeLog, makeProxy } from './helpers/modern-server.js'

const P = 'io.modelcontextprotocol/'
const DISCOVERED = {
  resultType: 'complete',
  supportedVersions: ['2026-07-28'],
  capabilities: { tools: { listChanged: true }, extensions: { [`${P}tasks`]: {}, 'x/y': {} } },
  instructions: 'be kind',
  ttlMs: 5,
  cacheScope: 'public',
  _meta: { [`${P}serverInfo`]: { name: 's', version: '2' } },
}

t.test('initialize is answered from server/discover', async (t) => {
  const client = makeProxy().client({ principal: 'ann' })
  client.say('{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{"roots":{"listChanged":true},"n":1.0,"tasks":{"list":{}},"extensions":{"io.modelcontextprotocol/tasks":{},"a/b":{"big":90071992547409931}}},"clientInfo":{"name":"ann’s","version":"1","n":1e2},"_meta":{"traceparent":"00-1"}}}')
  const { server } = client
  t.equal(server.heard[0]?.text, '{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"traceparent":"00-1","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"ann’s","version":"1","n":1e2},"io.modelcontextprotocol/clientCapabilities":{"roots":{"listChanged":true},"n":1.0,"extensions":{"a/b":{"big":90071992547409931}}}}}}')
  t.match(server.context, { era: 'modern', principal: 'ann', id: 'test' })
  server.answer('server/discover', DISCOVERED)
  t.strictSame(client.heard.map(({ json }) => json), [{
    jsonrpc: '2.0',
    id: 'i',
    result: {
      protocolVersion: '2025-03-26',
      capabilities: { tools: { listChanged: true }, extensions: { 'x/y': {} } },
      serverInfo: { name: 's', version: '2' },
      instructions: 'be kind',
    },
  }])
})

t.test('the revision is negotiated; a server without a name gets one', async (t) => {
  for (const [asked, got] of [['2024-11-05', '2024-11-05'], ['2025-06-18', '2025-06-18'], ['2025-11-25', '2025-11-25'], ['1999-01-01', '2025-11-25'], ['2026-07-28', '2025-11-25']]) {
    const client = makeProxy({ serverName: 'files' }).client()
    client.ask(1, 'initialize', { protocolVersion: asked, capabilities: {} })
    client.server.answer('server/discover', { capabilities: { extensions: { [`${P}tasks`]: {} } } })
    t.strictSame(client.answer(1)?.result, { protocolVersion: got, capabilities: {}, serverInfo: { name: 'files', version: 'unknown' } })
  }
})

t.test('a discovery that fails fails the handshake', async (t) => {
  const client = makeProxy().client()
  client.ask(1, 'initialize', { protocolVersion: '2025-11-25', capabilities: {} })
  client.server.fail('server/discover', { code: -32099, message: 'not today', data: { why: 1 } })
  t.strictSame(client.answer(1), { jsonrpc: '2.0', id: 1, error: { code: -32099, message: 'not today', data: { why: 1 } } })
  for (const [id, result] of [[2, '{"capabilities":7}'], [3, '{"resultType":"input_required"}'], [4, '{"capabilities":{nonsense}}'], [5, '7']] as const) {
    client.ask(id, 'initialize', { protocolVersion: '2025-11-25', capabilities: {} })
    client.server.answer('server/discover', result)
    t.match(client.answer(id), { error: { data: { code: 'MCP_ERR_CHILD_HANDSHAKE' } } }, result)
    t.equal(client.heard.at(-1)?.options?.status, 502)
  }
  client.ask(6, 'initialize', { protocolVersion: '2025-11-25', capabilities: { x: 'y'.repeat(300_000) } })
  t.match(client.answer(6), { error: { code: -32602, data: { code: 'MCP_ERR_PARAMS' } } }, 'an introduction that every request would repeat is bounded')
})

t.test('every request is stamped; all else of it keeps its bytes', async (t) => {
  const client = makeProxy().client().shakeHands({ sampling: {} })
  const stamps = '"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"sampling":{}}'
  const { server } = client
  const send = (text: string): string | undefined => {
    client.say(text)
    return server.heard.at(-1)?.text
  }
  t.equal(send('{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"é🎈","arguments":{"n":1.0,"big":12345678901234567890},"_meta":{"progressToken":7,"x/y":[ ]}}}'),
    `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"é🎈","arguments":{"n":1.0,"big":12345678901234567890},"_meta":{"progressToken":7,"x/y":[ ],${stamps}}}}`)
  t.equal(send('{"id":"a","method":"tools/list","jsonrpc":"2.0"}'), `{"params":{"_meta":{${stamps}}},"id":3,"method":"tools/list","jsonrpc":"2.0"}`)
  t.equal(send('{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{}},"vendor":1}'), `{"jsonrpc":"2.0","id":4,"method":"completion/complete","params":{"_meta":{${stamps}},"ref":{}},"vendor":1}`)
  t.equal(send('{"jsonrpc":"2.0","id":2,"method":"vendor/x","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"1","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/logLevel":"debug"}}}'),
    `{"jsonrpc":"2.0","id":5,"method":"vendor/x","params":{"_meta":{${stamps}}}}`, 'nobody stamps for another')
  const before = server.heard.length
  client.say('{"jsonrpc":"2.0","id":3,"method":"vendor/x","params":{"_meta":7}}')
  t.match(client.answer(3), { error: { code: -32602 } })
  t.equal(server.heard.length, before, 'what cannot be stamped does not reach the server')
})

t.test('a client that never shook hands is stamped as one that can do nothing', async (t) => {
  const client = makeProxy().client({ answers: false })
  client.ask(1, 'tools/list')
  t.strictSame(client.server.last('tools/list').json.params, { _meta: { [`${P}protocolVersion`]: '2026-07-28', [`${P}clientCapabilities`]: {} } })
})

t.test('ping and logging/setLevel are answered by the proxy; the level is stamped from then on', async (t) => {
  const client = makeProxy().client().shakeHands()
  const { server } = client
  const before = server.heard.length
  client.ask(1, 'ping')
  client.ask(2, 'logging/setLevel', { level: 'loud' })
  client.ask(3, 'logging/setLevel', { level: 'warning' })
  t.equal(server.heard.length, before)
  t.strictSame(client.answer(1)?.result, {})
  t.match(client.answer(2), { error: { code: -32602, data: { code: 'MCP_ERR_PARAMS' } } })
  t.strictSame(client.answer(3)?.result, {})
  client.ask(4, 'tools/call', { name: 'x' })
  t.match(server.last('tools/call').json.params, { name: 'x', _meta: { [`${P}logLevel`]: 'warning' } })
})

t.test('tasks are withheld from the other era', async (t) => {
  const client = makeProxy().client().shakeHands()
  const before = client.server.heard.length
  for (const [id, method] of [[1, 'tasks/list'], [2, 'tasks/get'], [3, 'subscriptions/listen']] as const) {
    client.ask(id, method, {})
    t.match(client.answer(id), { error: { code: -32601 } })
    t.equal(client.heard.at(-1)?.options?.status, undefined, 'over HTTP, 404 would mean that the session has ended')
  }
  t.equal(client.server.heard.length, before)
  client.ask(4, 'tools/call', { name: 'x', task: { ttl: 1 } })
  t.notOk('task' in (client.server.last('tools/call').json.params ?? {}), 'a call is made as one without')
})

t.test('answers pass whole under the id of the client, errors unchanged', async (t) => {
  const client = makeProxy().client().shakeHands()
  const { server } = client
  const result = '{"resultType":"complete","z":12345678901234567890,"a":1.0,"ttlMs":3,"nested":{"id":5,"jsonrpc":"2.0","text":"\\"input_required\\""},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}'
  for (const id of ['1', '"1"', '-1', '1.5', '9007199254740993', '"日本 🎈"', '"__proto__"', '""']) {
    client.say(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"x"}}`)
    server.answer('tools/call', result)
    t.equal(client.heard.at(-1)?.text, `{"jsonrpc":"2.0","id":${id},"result":${result}}`)
  }
  client.ask(1, 'resources/read', { uri: 'x:' })
  server.fail('resources/read', { code: -32602, message: 'no such', data: { uri: 'x:' } })
  t.strictSame(client.heard.at(-1)?.json, { jsonrpc: '2.0', id: 1, error: { code: -32602, message: 'no such', data: { uri: 'x:' } } })
  t.strictSame(new Set(server.all('tools/call').map(({ json }) => json.id)).size, 8, 'each has an id of its own')
})

t.test('what a proxy says of its own keeps its status', async (t) => {
  const client = makeProxy().client().shakeHands()
  client.ask('a', 'tools/list')
  const id = client.server.id('tools/list')
  void client.server.say({ jsonrpc: '2.0', id, error: { code: -32000, message: 'gone' } }, { status: 502, local: true, relatedRequestId: String(id) })
  t.strictSame(client.heard.at(-1)?.options, { status: 502, local: true, relatedRequestId: '"a"' })
})

t.test('progress and logs go to the call that they are about', async (t) => {
  const client = makeProxy().client().shakeHands()
  const { server } = client
  client.ask('a', 'tools/call', { name: 'x', _meta: { progressToken: 'tok' } })
  const about = { relatedRequestId: String(server.id('tools/call')) }
  const progress = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"tok","progress":1.0}}'
  const log = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"debug","data":"x"}}'
  const unknown = '{"jsonrpc":"2.0","method":"vendor/news","params":{"n":90071992547409931}}'
  for (const text of [progress, log, unknown]) void server.say(text, about)
  void server.say(unknown)
  t.strictSame(client.heard.map(({ text, options }) => [text, options?.relatedRequestId]), [[progress, '"a"'], [log, '"a"'], [unknown, '"a"'], [unknown, undefined]])
  server.answer('tools/call', {})
  const before = client.heard.length
  void server.say(progress, about)
  t.equal(client.heard.length, before, 'nothing comes after the answer')
})

t.test('a slow client slows the server', async (t) => {
  const client = makeProxy().client().shakeHands()
  client.room = Promise.resolve()
  client.ask(1, 'tools/list')
  t.equal(client.server.say({ jsonrpc: '2.0', method: 'vendor/news' }), client.room)
  t.equal(client.server.say({ jsonrpc: '2.0', id: client.server.id('tools/list'), result: {} }), client.room)
})

t.test('a cancelled call is cancelled on the server, and nothing more is sent for it', async (t) => {
  const client = makeProxy().client().shakeHands()
  const { server } = client
  client.ask('1', 'tools/call', { name: 'x' })
  const id = server.id('tools/call')
  for (const requestId of [1, 'other', null]) client.notify('notifications/cancelled', { requestId })
  t.equal(server.all('notifications/cancelled').length, 0, 'other ids are others')
  client.notify('notifications/cancelled', { requestId: '1', reason: 'enough', _meta: { a: 1 } })
  t.strictSame(server.last('notifications/cancelled').json.params, { requestId: id, reason: 'enough', _meta: { a: 1 } })
  void server.say({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: 1 } }, { relatedRequestId: String(id) })
  server.answer('tools/call', {})
  client.notify('notifications/cancelled', { requestId: '1' })
  t.strictSame(client.heard, [])
  t.equal(server.all('notifications/cancelled').length, 1)
  client.ask('1', 'tools/call', { name: 'y' })
  t.equal(server.all('tools/call').length, 2, 'the id is free again')
})

t.test('a handshake cannot be cancelled', async (t) => {
  const client = makeProxy().client()
  client.ask(1, 'initialize', { protocolVersion: '2025-11-25', capabilities: {} })
  client.notify('notifications/cancelled', { requestId: 1 })
  t.equal(client.server.heard.length, 1)
  client.server.answer('server/discover', DISCOVERED)
  t.ok(client.answer(1)?.result)
})

t.test('notifications pass to the server but for those that its revision does not have', async (t) => {
  const client = makeProxy().client().shakeHands()
  const before = client.server.heard.length
  client.notify('notifications/roots/list_changed')
  client.notify('notifications/progress', { progressToken: 1, progress: 1 })
  client.say('{"jsonrpc":"2.0","id":77,"result":{}}')
  t.equal(client.server.heard.length, before)
  client.say('{"jsonrpc":"2.0","method":"vendor/hello","params":{"n":1.0}}')
  t.equal(client.server.heard.at(-1)?.text, '{"jsonrpc":"2.0","method":"vendor/hello","params":{"n":1.0}}')
})

t.test('a server that asks by a request of its own is told that it cannot', async (t) => {
  const client = makeProxy().client().shakeHands({ sampling: {} })
  void client.server.say({ jsonrpc: '2.0', id: 'q', method: 'sampling/createMessage', params: {} })
  t.match(client.server.heard.at(-1)?.json, { id: 'q', error: { code: -32601 } })
  void client.server.say({ jsonrpc: '2.0', id: 'nobody', result: {} })
  void client.server.say({ jsonrpc: '2.0', id: '2', result: {} })
  t.strictSame(client.heard, [])
})

t.test('calls are bounded, and an id is used once at a time', async (t) => {
  const client = makeProxy({ maxCalls: 2 }).client().shakeHands()
  client.ask(1, 'tools/list')
  client.ask(1, 'tools/list')
  t.match(client.heard.at(-1)?.json, { id: 1, error: { data: { code: 'MCP_ERR_ID_IN_USE' } } })
  client.ask('1', 'tools/list')
  client.ask(2, 'tools/list')
  t.match(client.answer(2), { error: { data: { code: 'MCP_ERR_CALL_LIMIT' } } })
  t.equal(client.heard.at(-1)?.options?.status, 503)
  client.server.answer('tools/list', {})
  client.ask(3, 'tools/list')
  t.equal(client.server.all('tools/list').length, 3)
  t.throws(() => legacyOverModern(() => ({ close: async () => {} }), { maxCalls: 0 }), { code: 'MCP_ERR_OPTION' })
})

t.test('a session that ends, ends at the server too', async (t) => {
  const client = makeProxy().client().shakeHands()
  client.ask(1, 'tools/list')
  await client.connection.close()
  await client.connection.close()
  t.equal(client.server.closed, true)
  client.server.answer('tools/list', {})
  client.ask(2, 'tools/list')
  t.strictSame(client.heard, [])
  t.equal(client.server.all('tools/list').length, 1)
})

t.test('a server that ends fails what is open and ends the session', async (t) => {
  const client = makeProxy().client().shakeHands()
  client.ask(1, 'tools/list')
  client.ask(2, 'resources/subscribe', { uri: 'a:' })
  client.ask(3, 'initialize', { protocolVersion: '2025-11-25', capabilities: {} })
  void client.server.transport.close()
  for (const id of [1, 2, 3]) t.match(client.answer(id), { error: { data: { code: 'MCP_ERR_STOPPED' } } })
  await client.connection.close()
  t.equal(client.closed, true)
})

t.test('a server that ends while it is connected to ends the session', async (t) => {
  let closed = 0
  const client = new LegacyClient()
  legacyOverModern((transport) => {
    void transport.close()
    return { close: async () => { closed++ } }
  })(client, { id: 'x', principal: undefined, request: undefined, log: makeLog() })
  await new Promise(resolve => setImmediate(resolve))
  t.equal(closed, 1)
  t.equal(client.closed, true)
})

t.test('50 sessions with the same ids each get their own answers', async (t) => {
  const proxy = makeProxy()
  const clients = Array.from({ length: 50 }, () => proxy.client().shakeHands())
  for (const [n, client] of clients.entries()) for (const id of [1, '1', 2]) client.ask(id, 'tools/call', { name: `${n}/${JSON.stringify(id)}` })
  for (const { server } of clients) {
    for (const { json } of server.all('tools/call').reverse()) void server.say({ jsonrpc: '2.0', id: json.id, result: { name: json.params?.['name'] } })
  }
  for (const [n, client] of clients.entries()) {
    t.equal(client.heard.length, 3)
    for (const id of [1, '1', 2]) t.equal(client.answer(id)?.result?.['name'], `${n}/${JSON.stringify(id)}`)
  }
})

t.test('answers of concurrent calls never meet, whatever their ids and their order', async () => {
  const id = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constantFrom('0', '1', '2', 'a', ''), fc.string({ unit: 'binary', maxLength: 3 }))
  fc.assert(fc.property(fc.uniqueArray(id, { minLength: 1, maxLength: 12 }), fc.infiniteStream(fc.nat()), (ids, order) => {
    const client = makeProxy().client().shakeHands()
    for (const id of ids) client.ask(id, 'tools/call', { name: JSON.stringify(id) })
    const calls = client.server.all('tools/call').map(({ json }) => ({ json, rank: order.next().value })).sort((a, b) => a.rank - b.rank)
    for (const { json } of calls) void client.server.say({ jsonrpc: '2.0', id: json.id, result: { name: json.params?.['name'] } })
    return client.heard.length === ids.length && client.heard.every(({ json }) => json.result?.['name'] === JSON.stringify(json.id))
  }))
})

t.test('any request without its stamps is what the client has sent', async () => {
  const params = fc.dictionary(fc.string().filter(name => name !== 'task'), fc.jsonValue({ stringUnit: 'binary' }), { maxKeys: 4 })
  const meta = fc.option(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue(), { maxKeys: 4 }), { nil: undefined })
  fc.assert(fc.property(params, meta, fc.boolean(), (params, meta, empty) => {
    const sent = JSON.parse(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'vendor/any', ...(!empty && { params: { ...params, _meta: meta } }) })) as JsonRpcMessage
    const client = makeProxy().client().shakeHands()
    client.say(sent)
    const heard = client.server.heard.at(-1)?.json as JsonRpcMessage
    if (!isStamped(heard)) return false
    return JSON.stringify(unstamped({ ...heard, id: 1 })) === JSON.stringify(unstamped(sent))
  }))
})

/** Members of `params` and of `_meta` sorted by name, the stamps and what is empty left out. */
function unstamped ({ params = {}, ...rest }: JsonRpcMessage): unknown {
  const { _meta: meta = {}, ...others } = params
  const kept = Object.entries(meta as object).filter(([name]) => ![`${P}protocolVersion`, `${P}clientInfo`, `${P}clientCapabilities`].includes(name))
  const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => a < b ? -1 : 1
  return [Object.entries(rest).sort(byName), Object.entries(others).sort(byName), kept.sort(byName)]
}
