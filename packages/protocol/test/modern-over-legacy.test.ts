import t from 'tap'
import fc from 'fast-check'
import { SERVED_REVISIONS, mcpError } from '@mcp-proxy/protocol'
import { CAPABILITIES, FakeClient, LOG_LEVEL, SERVER_INFO, VERSION, at, setUp, until, type Json } from './fake-legacy.js'

const ENVELOPE = `"${VERSION}":"2026-07-28","${CAPABILITIES}":{}`

t.test('a request reaches the server without what only this revision says, and with all else as it was', async (t) => {
  for (const [params, expected] of [
    [`{"name":"x","arguments":{"n":90071992547409931,"b":1.0},"_meta":{${ENVELOPE}}}`, '{"name":"x","arguments":{"n":90071992547409931,"b":1.0}}'],
    [`{"_meta":{"traceparent":"00-1","${LOG_LEVEL}":"info",${ENVELOPE},"progressToken":90071992547409931},"z":1,"a":2}`, '{"_meta":{"traceparent":"00-1","progressToken":90071992547409931},"z":1,"a":2}'],
    [`{"_meta":{${ENVELOPE},"vendor/x":[1.50]},"inputResponses":{"k":{}},"name":"x"}`, '{"_meta":{"vendor/x":[1.50]},"name":"x"}'],
    [`{"_meta":{${ENVELOPE}}}`, '{}'],
  ] as const) {
    const { client, source } = setUp()
    client.write(`{"jsonrpc":"2.0","id":90071992547409931,"method":"tools/call","params":${params}}`)
    t.equal(source.last.texts.at(-1), `{"jsonrpc":"2.0","id":90071992547409931,"method":"tools/call","params":${expected}}`)
  }
})

t.test('any request comes back as it was when its envelope is put back', async () => {
  const name = fc.string().filter(name => !['__proto__', '_meta', 'inputResponses', 'requestState'].includes(name))
  fc.assert(fc.property(fc.dictionary(name, fc.jsonValue()), fc.dictionary(name, fc.jsonValue()), fc.shuffledSubarray(['inputResponses', LOG_LEVEL]), (params, meta, extras) => {
    fc.pre(!Object.hasOwn(params, '__proto__') && !Object.hasOwn(meta, '__proto__') && !Object.hasOwn(meta, 'progressToken'))
    const { client, source } = setUp({ capabilities: {} })
    const envelope = { [VERSION]: '2026-07-28', [CAPABILITIES]: {}, ...(extras.includes(LOG_LEVEL) && { [LOG_LEVEL]: 'info' }) }
    client.write(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'x/y', params: { ...params, ...(extras.includes('inputResponses') && { inputResponses: {} }), _meta: { ...meta, ...envelope } } }))
    const { _meta: left, ...others } = source.last.last['params'] as Json
    return sorted({ ...others, _meta: { ...left as Json | undefined, ...envelope } }) === sorted(JSON.parse(JSON.stringify({ ...params, _meta: { ...meta, ...envelope } })))
  }))
})

t.test('a result gains what this revision wants of it, and keeps its bytes', async (t) => {
  const info = `"${SERVER_INFO}":{"name":"fake","version":"1"}`
  for (const [method, before, after] of [
    ['tools/call', '{"content":[ 1.0 ]}', `{"resultType":"complete","_meta":{${info}},"content":[ 1.0 ]}`],
    ['tools/call', '{}', `{"resultType":"complete","_meta":{${info}}}`],
    ['tools/call', '{"structuredContent":{"resultType":"x","_meta":{}}}', `{"resultType":"complete","_meta":{${info}},"structuredContent":{"resultType":"x","_meta":{}}}`],
    ['tools/call', '{"resultType":"odd","x": 90071992547409931}', `{"_meta":{${info}},"resultType":"odd","x": 90071992547409931}`],
    ['tools/call', '{"x": 1,"_meta":{"a":1.0}}', `{"resultType":"complete","x": 1,"_meta":{"a":1.0,${info}}}`],
    ['resources/read', '{"ttlMs":7}', `{"resultType":"complete","_meta":{${info}},"cacheScope":"private","ttlMs":7}`],
    ...['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read'].map(method =>
      [method, '{"a":1}', `{"resultType":"complete","_meta":{${info}},"ttlMs":0,"cacheScope":"private","a":1}`] as const),
  ] as const) {
    const { client, source } = setUp()
    client.ask(1, method)
    source.last.say(`{"jsonrpc":"2.0","id":1,"result":${before}}`)
    t.equal(client.texts.at(-1), `{"jsonrpc":"2.0","id":1,"result":${after}}`)
    t.equal(source.last.closed, 1, 'and the server is given back')
  }
})

t.test('an error passes, but for a resource that is not there', async (t) => {
  for (const [before, after] of [
    ['{"code":-32002,"message":"no","data":{"uri":"a:b"}}', '{"code":-32602,"message":"no","data":{"uri":"a:b"}}'],
    ['{"code":-32099,"message":"x","data":[1.0]}', '{"code":-32099,"message":"x","data":[1.0]}'],
    ['{"code":-32042,"message":"no list"}', '{"code":-32042,"message":"no list"}'],
  ]) {
    const { client, source } = setUp()
    client.ask('a', 'resources/read')
    source.last.say(`{"jsonrpc":"2.0","id":"a","error":${before}}`, { relatedRequestId: '"a"', status: 503 })
    t.equal(client.texts.at(-1), `{"jsonrpc":"2.0","id":"a","error":${after}}`)
    t.equal(client.options?.status, 503)
  }
})

t.test('server/discover is answered from the handshake', async (t) => {
  const { client, source } = setUp({ initialize: '{"protocolVersion":"2025-11-25","capabilities":{"tasks":{},"tools":{ "listChanged":true},"experimental":{"x":{"n":1.0}},"extensions":{"a/b":{}}},"serverInfo":{"version":"1", "name":"n"},"instructions":"say \\u00e9"}' })
  client.ask(1, 'server/discover')
  t.equal(client.texts[0], `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":${JSON.stringify(SERVED_REVISIONS)},"capabilities":{"tools":{ "listChanged":true},"experimental":{"x":{"n":1.0}},"extensions":{"a/b":{}}},"instructions":"say \\u00e9","ttlMs":0,"cacheScope":"private","_meta":{"${SERVER_INFO}":{"version":"1", "name":"n"}}}}`)
  t.strictSame([source.last.joined, source.last.closed, source.last.texts], [1, 1, []], 'the server is given back, unasked')
  t.match(source.last.need, { method: 'server/discover', introduction: undefined, alone: false, stays: false })
  const bare = setUp({ initialize: '{}' })
  bare.client.ask(1, 'server/discover')
  t.match(bare.client.last, { result: { capabilities: {}, _meta: undefined, instructions: undefined } })
})

t.test('what this revision does not have is not found', async (t) => {
  const { client, source } = setUp()
  for (const method of ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'tasks/get', 'tasks/result']) {
    client.ask(1, method)
    t.match(client.last, { id: 1, error: { code: -32601, data: { code: 'MCP_ERR_METHOD_NOT_FOUND' } } })
    t.match(client.options, { relatedRequestId: '1', status: 404, local: true })
  }
  t.equal(source.servers.length, 0)
})

t.test('a request that something may be asked or logged about gets a server for itself', async (t) => {
  for (const [method, meta, alone, introduced] of [
    ['tools/call', {}, false, false],
    ['tools/call', { capabilities: { extensions: {} } }, false, false],
    ['tools/call', { capabilities: { elicitation: {} } }, true, true],
    ['prompts/get', { capabilities: { sampling: {} } }, true, true],
    ['resources/read', { capabilities: { roots: {} } }, true, true],
    ['tools/list', { capabilities: { roots: {} } }, false, true],
    ['tools/call', { [LOG_LEVEL]: 'info' }, true, false],
    ['completion/complete', { [LOG_LEVEL]: 'info' }, false, false],
  ] as const) {
    const { client, source } = setUp()
    client.ask(1, method, {}, meta)
    t.strictSame([source.last.need.alone, source.last.need.introduction !== undefined, source.last.need.stays], [alone, introduced, false], `${method} ${JSON.stringify(meta)}`)
  }
})

t.test('equal clients are introduced in equal words, without the tasks of either era', async (t) => {
  const { client, source } = setUp()
  const info = 'io.modelcontextprotocol/clientInfo'
  client.ask(1, 'tools/call', {}, { capabilities: { tasks: {}, sampling: { tools: {}, context: {} }, extensions: { 'io.modelcontextprotocol/tasks': {}, 'a/b': {} } }, [info]: { version: '2', name: 'n' } })
  client.ask(2, 'tools/call', {}, { [info]: { name: 'n', version: '2' }, capabilities: { extensions: { 'a/b': {} }, sampling: { context: {}, tools: {} } } })
  client.ask(3, 'tools/call', {}, { capabilities: { roots: {} } })
  const [first, second, third] = source.servers.map(({ need }) => need.introduction)
  t.equal(first, '{"capabilities":{"extensions":{"a/b":{}},"sampling":{"context":{},"tools":{}}},"clientInfo":{"name":"n","version":"2"},"protocolVersion":"2025-11-25"}')
  t.equal(second, first)
  t.match(third, /"clientInfo":\{"name":"mcp-proxy"/)
})

t.test('a client that introduces itself at great length is refused, where servers would be kept for it', async (t) => {
  const { client, source } = setUp()
  const info = { 'io.modelcontextprotocol/clientInfo': { name: 'n'.repeat(64 * 1024), version: '1' } }
  client.ask(1, 'tools/call', {}, { capabilities: { roots: {} }, ...info })
  t.match(client.last, { id: 1, error: { code: -32602, data: { code: 'MCP_ERR_PARAMS' } } })
  t.equal(client.options?.status, 400)
  t.equal(source.servers.length, 0)
  client.ask(2, 'tools/call', {}, info)
  t.equal(source.servers.length, 1, 'others are not')
})

t.test('logs come to a request that asks for them, at its level', async (t) => {
  const log = (level: string): Json => ({ method: 'notifications/message', params: { level, data: level } })
  const { client, source } = setUp()
  client.ask(1, 'tools/call', {}, { [LOG_LEVEL]: 'warning' })
  const server = source.last
  t.strictSame(server.heard.map(({ method }) => method), ['logging/setLevel', 'tools/call'])
  t.strictSame(server.heard[0]?.params, { level: 'warning' })
  server.say({ id: server.heard[0]?.id, result: {} })
  for (const level of ['info', 'warning', 'error']) server.say(log(level))
  t.strictSame(client.messages.map(message => at(message, 'params', 'level')), ['warning', 'error'], 'and the answer to the level is nobody else\'s')
  t.strictSame(client.options, { relatedRequestId: '1' })

  client.ask(2, 'tools/call', {}, { capabilities: { roots: {} } })
  source.last.say(log('error'))
  client.ask(3, 'tools/call', {}, { [LOG_LEVEL]: 'loud' })
  t.match(client.last, { id: 3, error: { code: -32602 } })
  t.equal(client.got.length, 3, 'none without a level')

  const without = setUp({ capabilities: {} })
  without.client.ask(1, 'tools/call', {}, { [LOG_LEVEL]: 'info' })
  t.strictSame(without.source.last.heard.map(({ method }) => method), ['tools/call'], 'a server without logging is not told a level')

  const shared = setUp({ alone: false })
  shared.client.ask(1, 'tools/call', {}, { [LOG_LEVEL]: 'info' })
  shared.source.last.say(log('error'))
  shared.source.last.say(log('error'), { relatedRequestId: '2' })
  t.equal(shared.client.got.length, 0, 'where others use the server, it must be about this call')
  shared.source.last.say(log('error'), { relatedRequestId: '1' })
  t.equal(shared.client.got.length, 1)
})

t.test('progress is passed to a request that has a token; what is not about a call is not', async (t) => {
  const { client, source } = setUp()
  client.ask(1, 'tools/call', {}, { progressToken: 'p', capabilities: { roots: {} } })
  source.last.say('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1.0}}')
  t.equal(client.texts[0], '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1.0}}')
  for (const method of ['notifications/elicitation/complete', 'notifications/tasks/status', 'notifications/tools/list_changed', 'notifications/resources/updated']) source.last.say({ method })
  t.equal(client.got.length, 1)
  source.last.say({ method: 'notifications/vendor' })
  t.equal(client.got.length, 2, 'what is unknown is, on a server of the call\'s own')
  const shared = setUp({ alone: false })
  shared.client.ask(1, 'tools/call')
  shared.source.last.say({ method: 'notifications/vendor' })
  t.equal(shared.client.got.length, 0)
})

t.test('a request is cancelled by its id, or by leaving; then nothing is heard of it', async (t) => {
  const { client, source, connect } = setUp()
  client.ask(1, 'tools/call')
  client.ask('1', 'tools/call')
  const [first, second] = source.servers
  client.notify('notifications/cancelled', { requestId: 1 })
  t.strictSame([first?.closed, second?.closed, first?.need.signal().aborted], [1, 0, true])
  t.equal(first?.heard.length, 1, 'the server hears of it by its connection')
  first?.say({ id: 1, result: {} })
  t.equal(client.got.length, 0)
  await client.close()
  t.equal(second?.closed, 1)
  await client.close()
  t.strictSame([first?.closed, second?.closed], [1, 1])

  const late = new FakeClient(connect)
  late.ask(2, 'tools/call')
  await connect.close()
  t.match(late.last, { id: 2, error: { data: { code: 'MCP_ERR_STOPPED' } } }, 'and when the proxy ends, it is said')
})

t.test('one id is open once, and free again after its answer', async (t) => {
  const { client, source } = setUp()
  client.ask(1, 'tools/call')
  client.ask(1, 'tools/call')
  t.match(client.last, { id: 1, error: { data: { code: 'MCP_ERR_ID_IN_USE' } } })
  source.last.say({ id: 1, result: {} })
  t.match(client.last, { id: 1, result: {} })
  client.ask(1, 'tools/call')
  t.equal(source.servers.length, 2)
})

t.test('a client is told when there is no server; one that comes too late is given back', async (t) => {
  const failing = setUp({ open: () => { throw Object.assign(mcpError('MCP_ERR_CHILD_LIMIT', 3), { retryAfter: 1 }) } })
  failing.client.ask(1, 'tools/call')
  t.match(failing.client.last, { id: 1, error: { data: { code: 'MCP_ERR_CHILD_LIMIT' } } })
  t.match(failing.client.options, { status: 503, retryAfter: 1, local: true })
  const rejecting = setUp({ open: async () => { throw mcpError('MCP_ERR_CHILD_LIMIT', 3) } })
  for (const method of ['tools/call', 'server/discover']) rejecting.client.ask(method, method)
  rejecting.client.ask('l', 'subscriptions/listen', { notifications: {} })
  await until(() => rejecting.client.got.length === 3)
  t.ok(rejecting.client.messages.every(message => at(message, 'error', 'data', 'code') === 'MCP_ERR_CHILD_LIMIT'))

  const slow = setUp({ open: async server => server })
  slow.client.ask(1, 'tools/call')
  slow.client.notify('notifications/cancelled', { requestId: 1 })
  await until(() => slow.source.last.joined === 1)
  t.strictSame([slow.source.last.closed, slow.source.last.heard, slow.client.got], [1, [], []])

  const lost = setUp()
  lost.client.ask(1, 'tools/call')
  lost.source.last.lose()
  t.match(lost.client.last, { id: 1, error: { data: { code: 'MCP_ERR_STOPPED' } } })
})

t.test('a server that others use too is answered nothing but pings', async (t) => {
  const { client, source } = setUp({ alone: false })
  client.ask(1, 'tools/call', {}, { capabilities: { roots: {} } })
  source.last.say({ id: 's', method: 'ping' })
  t.strictSame(source.last.last, { jsonrpc: '2.0', id: 's', result: {} })
  source.last.say({ id: 's', method: 'roots/list' })
  t.match(source.last.last, { id: 's', error: { code: -32601 } })
  client.notify('notifications/roots/list_changed', {})
  client.write('{"jsonrpc":"2.0","id":5,"result":{}}')
  t.equal(source.last.heard.length, 3, 'and what a modern client does not say goes nowhere')
})

t.test('a large result is not looked into', async (t) => {
  const { client, source } = setUp()
  client.ask(1, 'tools/call')
  const text = 'x'.repeat(5_000_000)
  source.last.say(`{"jsonrpc":"2.0","id":1,"result":{"content":"${text}`.concat('"}}'))
  t.equal(at(client.last, 'result', 'content'), text)
})

t.test('options are checked', async (t) => {
  for (const options of [{ parkTimeout: 0 }, { maxParkedCalls: 0 }, { gather: -1 }, { stateKey: '' }]) {
    t.throws(() => setUp({}, options), { code: 'MCP_ERR_OPTION' })
  }
})

function sorted (value: Json): string {
  return JSON.stringify(value, (_, item: unknown) => item !== null && typeof item === 'object' && !Array.isArray(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => a < b ? -1 : 1)) : item)
}
