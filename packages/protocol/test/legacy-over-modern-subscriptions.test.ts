import t from 'tap'
import { SUBSCRIPTION_ID_KEY } from '@mcp-proxy/protocol'
import { LegacyClient, ServerEnd, exactly, isStamped, makeProxy, until, type TestProxy } from './helpers/modern-server.js'

const LISTEN = 'subscriptions/listen'

/** A client that is subscribed to a resource. */
function subscribed (uri = 'file:///a', options = {}): { client: LegacyClient, server: ServerEnd, id: number } {
  const client = makeProxy(options).client().shakeHands()
  const { server } = client
  client.ask('s', 'resources/subscribe', { uri })
  server.acknowledge({ resourceSubscriptions: [uri] })
  client.heard.length = 0
  return { client, server, id: server.id(LISTEN) }
}

const updated = (id: number, uri = 'file:///a'): object => ({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { _meta: { [SUBSCRIPTION_ID_KEY]: id }, uri } })

t.test('changes of lists come by one subscription to those that the server tells of', async (t) => {
  for (const [capabilities, notifications] of [
    [{ tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true } }, { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true }],
    [{ tools: { listChanged: true }, prompts: { listChanged: false }, resources: {} }, { toolsListChanged: true }],
    [{ tools: {}, logging: {} }, undefined],
  ]) {
    const client = makeProxy().client().shakeHands({}, capabilities)
    client.notify('notifications/initialized')
    const listens = client.server.all(LISTEN)
    t.strictSame(listens.map(({ json }) => json.params?.['notifications']), notifications === undefined ? [] : [notifications])
    t.ok(listens.every(({ json }) => isStamped(json)))
  }
  const silent = makeProxy().client({ answers: false }).shakeHands({}, { tools: { listChanged: true } })
  t.equal(silent.server.all(LISTEN).length, 0, 'not for a client that hears nothing but answers')
})

t.test('list_changed reaches the client without its mark, from a subscription that is open', async (t) => {
  const client = makeProxy().client().shakeHands({}, { tools: { listChanged: true } })
  const { server } = client
  const id = server.id(LISTEN)
  server.acknowledge({ toolsListChanged: true })
  t.strictSame(client.heard, [], 'the acknowledgement is for the proxy')
  const say = (params: string): void => { void server.say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"${params}}`, { relatedRequestId: String(id) }) }
  say(`,"params":{"_meta":{"${SUBSCRIPTION_ID_KEY}":${id}}}`)
  say(`,"params":{"_meta":{"a":1.0,"${SUBSCRIPTION_ID_KEY}":${id},"b":[ ]}}`)
  say(`,"params":{"n":1.0,"_meta":{"${SUBSCRIPTION_ID_KEY}":${id}}}`)
  t.strictSame(client.heard.map(({ text, options }) => [text, options]), [
    ['{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}', undefined],
    ['{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"a":1.0,"b":[ ]}}}', undefined],
    ['{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"n":1.0}}', undefined],
  ])
  client.heard.length = 0
  say('')
  say(`,"params":{"_meta":{"${SUBSCRIPTION_ID_KEY}":"${id}"}}`)
  say(`,"params":{"_meta":{"${SUBSCRIPTION_ID_KEY}":99}}`)
  say(`,"params":{"_meta":{"${SUBSCRIPTION_ID_KEY}":null}}`)
  client.ask(1, 'tools/call', { name: 'x' })
  say(`,"params":{"_meta":{"${SUBSCRIPTION_ID_KEY}":${server.id('tools/call')}}}`)
  t.strictSame(client.heard, [], 'from no other')
})

t.test('a subscription to a resource is answered when the server acknowledges it', async (t) => {
  const client = makeProxy().client().shakeHands()
  const { server } = client
  client.say('{"jsonrpc":"2.0","id":"s","method":"resources/subscribe","params":{"uri":"file:\\/\\/\\/\\u00e9"}}')
  t.equal(server.heard.at(-1)?.text.includes('"notifications":{"resourceSubscriptions":["file:\\/\\/\\/\\u00e9"]}'), true)
  t.ok(isStamped(server.last(LISTEN).json))
  t.strictSame(client.heard, [])
  server.acknowledge({ resourceSubscriptions: ['file:///é'] })
  t.strictSame(client.heard.map(({ json }) => json), [{ jsonrpc: '2.0', id: 's', result: {} }])
  void server.say(updated(server.id(LISTEN), 'file:///é/below'))
  t.strictSame(client.heard.at(-1)?.json, { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'file:///é/below' } })
  client.ask(2, 'resources/subscribe', { uri: 'file:///é' })
  t.strictSame(client.answer(2)?.result, {}, 'a second one is one with the first')
  t.equal(server.all(LISTEN).length, 1)
})

t.test('two that ask for one resource before it is acknowledged share the answer', async (t) => {
  for (const [end, expected] of [
    [(server: ServerEnd) => server.acknowledge({ resourceSubscriptions: ['a:'] }), { result: {} }],
    [(server: ServerEnd) => server.fail(LISTEN, { code: -32099, message: 'no', data: 1 }), { error: { code: -32099, message: 'no', data: 1 } }],
  ] as const) {
    const client = makeProxy().client().shakeHands()
    for (const id of [1, '1']) client.ask(id, 'resources/subscribe', { uri: 'a:' })
    t.equal(client.server.all(LISTEN).length, 1)
    end(client.server)
    t.strictSame(client.heard.map(({ json }) => json), [1, '1'].map(id => ({ jsonrpc: '2.0', id, ...expected })))
  }
})

t.test('a server that does not take it says so, one way or another', async (t) => {
  const cases: Array<[(server: ServerEnd) => void, number]> = [
    [server => server.acknowledge({}), -32601],
    [server => server.acknowledge({ resourceSubscriptions: ['b:'] }), -32602],
    [server => server.answer(LISTEN, {}), -32602],
    [server => server.fail(LISTEN, { code: -32601, message: 'Method not found' }), -32601],
  ]
  for (const [refuse, code] of cases) {
    const client = makeProxy().client().shakeHands()
    const { server } = client
    client.ask('s', 'resources/subscribe', { uri: 'a:' })
    const id = server.id(LISTEN)
    refuse(server)
    exactly(t, client.heard.map(({ json }) => json), [{ id: 's', error: { code } }])
    void server.say(updated(id, 'a:'))
    t.equal(client.heard.length, 1)
    client.ask('again', 'resources/subscribe', { uri: 'a:' })
    t.equal(server.all(LISTEN).length, 2, 'another try is another subscription')
  }
  const client = makeProxy().client().shakeHands()
  client.ask('s', 'resources/subscribe', { uri: 'a:' })
  client.server.acknowledge({})
  t.strictSame(client.server.last('notifications/cancelled').json.params, { requestId: client.server.id(LISTEN) }, 'what is open for nothing is closed')
})

t.test('unsubscribe cancels the subscription', async (t) => {
  const { client, server, id } = subscribed()
  client.ask(1, 'resources/unsubscribe', { uri: 'file:///a' })
  client.ask(2, 'resources/unsubscribe', { uri: 'file:///never' })
  t.strictSame(client.heard.map(({ json }) => json), [1, 2].map(id => ({ jsonrpc: '2.0', id, result: {} })))
  t.strictSame(server.all('notifications/cancelled').map(({ json }) => json.params), [{ requestId: id }])
  void server.say(updated(id))
  t.equal(client.heard.length, 2)
  client.ask(3, 'resources/subscribe', { uri: 'b:' })
  client.ask(4, 'resources/unsubscribe', { uri: 'b:' })
  t.strictSame(client.heard.slice(2).map(({ json }) => json), [3, 4].map(id => ({ jsonrpc: '2.0', id, result: {} })), 'nobody is left waiting')
  for (const method of ['resources/subscribe', 'resources/unsubscribe']) {
    client.ask(5, method, {})
    t.match(client.heard.at(-1)?.json, { id: 5, error: { code: -32602 } })
  }
})

t.test('a subscribe that is cancelled before its answer is undone', async (t) => {
  const client = makeProxy().client().shakeHands()
  const { server } = client
  for (const id of [1, 2]) client.ask(id, 'resources/subscribe', { uri: 'a:' })
  client.notify('notifications/cancelled', { requestId: 1 })
  t.equal(server.all('notifications/cancelled').length, 0, 'another waits for it')
  client.notify('notifications/cancelled', { requestId: 2 })
  t.strictSame(server.last('notifications/cancelled').json.params, { requestId: server.id(LISTEN) })
  server.acknowledge({ resourceSubscriptions: ['a:'] })
  t.strictSame(client.heard, [])
})

t.test('a subscription that the server ends is opened again', async (t) => {
  const { client, server, id } = subscribed('file:///a', { reopenDelay: 1 })
  server.answer(LISTEN, { resultType: 'complete' })
  void server.say(updated(id))
  t.strictSame(client.heard, [], 'it was over')
  await until(() => server.all(LISTEN).length === 2)
  t.strictSame(server.last(LISTEN).json.params, server.all(LISTEN)[0]?.json.params)
  const again = server.id(LISTEN)
  server.acknowledge({ resourceSubscriptions: ['file:///a'] })
  void server.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: again, reason: 'restart' } })
  await until(() => server.all(LISTEN).length === 3)
  server.acknowledge({ resourceSubscriptions: ['file:///a'] })
  void server.say(updated(server.id(LISTEN)))
  t.strictSame(client.heard.map(({ json }) => json.method), ['notifications/resources/updated'])
  t.equal(new Set(server.all(LISTEN).map(({ json }) => json.id)).size, 3)
})

t.test('one that is ended by what is not its own name stays', async (t) => {
  const { client, server, id } = subscribed('file:///a', { reopenDelay: 1 })
  client.ask(1, 'tools/call', { name: 'x' })
  for (const requestId of [String(id), id + 50, server.id('tools/call')]) void server.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } })
  void server.say(updated(id))
  server.answer('tools/call', {})
  t.strictSame(client.heard.map(({ json }) => json.method ?? json.id), ['notifications/resources/updated', 1])
})

t.test('one that the server fails is not opened again', async (t) => {
  const { client, server, id } = subscribed('file:///a', { reopenDelay: 1 })
  server.fail(LISTEN, { code: 1, message: 'm' })
  client.ask(1, 'resources/subscribe', { uri: 'file:///other' })
  server.acknowledge({ resourceSubscriptions: ['file:///other'] })
  server.answer(LISTEN, {})
  await until(() => server.all(LISTEN).length === 3)
  t.match(server.last(LISTEN).json.params, { notifications: { resourceSubscriptions: ['file:///other'] } }, 'one that ended later has been')
  void server.say(updated(id))
  t.equal(client.all('notifications/resources/updated').length, 0)
})

t.test('one that the server no longer honours is given up', async (t) => {
  const { client, server } = subscribed('file:///a', { reopenDelay: 1 })
  server.answer(LISTEN, {})
  await until(() => server.all(LISTEN).length === 2)
  server.acknowledge({ resourceSubscriptions: [] })
  t.strictSame(server.last('notifications/cancelled').json.params, { requestId: server.id(LISTEN) })
  t.strictSame(client.heard, [])
})

t.test('a server that ends it without acknowledging it is tried a few times more', async (t) => {
  const proxy = makeProxy({ reopenDelay: 1 })
  const client = proxy.client().shakeHands({}, { tools: { listChanged: true } })
  const { server } = client
  server.acknowledge({ toolsListChanged: true })
  server.onheard = ({ json }) => { if (json.method === LISTEN) void server.say({ jsonrpc: '2.0', id: json.id, result: {} }) }
  server.answer(LISTEN, {})
  await until(() => proxy.log.some(({ level }) => level === 'warn'))
  t.equal(server.all(LISTEN).length, 6)
})

t.test('that for changed lists is tried again when the server refuses it, unless it does not know the method', async (t) => {
  const proxy = makeProxy({ reopenDelay: 1 })
  const { server } = proxy.client().shakeHands({}, { tools: { listChanged: true } })
  server.fail(LISTEN, { code: -32603, message: 'busy' })
  await until(() => server.all(LISTEN).length === 2)
  server.acknowledge({ toolsListChanged: true })
  const other = makeProxy({ reopenDelay: 1 })
  const { server: old } = other.client().shakeHands({}, { tools: { listChanged: true } })
  old.fail(LISTEN, { code: -32601, message: 'no' })
  await until(() => other.log.some(({ level }) => level === 'debug'))
  t.equal(old.all(LISTEN).length, 1)
})

t.test('a server that ends it often, and acknowledges it each time, is not given up', async (t) => {
  const { server } = subscribed('file:///a', { reopenDelay: 1 })
  for (let times = 1; times <= 10; times++) {
    server.answer(LISTEN, {})
    await until(() => server.all(LISTEN).length === times + 1)
    server.acknowledge({ resourceSubscriptions: ['file:///a'] })
  }
  t.equal(server.all(LISTEN).length, 11)
})

/** Fails each subscription as the proxy does while the server cannot be reached, until it is not tried any more. */
async function loseAll (proxy: TestProxy, { server }: LegacyClient, count: number): Promise<void> {
  const fail = (id: unknown): void => { void server.say({ jsonrpc: '2.0', id, error: { code: -32000, message: 'gone' } }, { local: true }) }
  server.onheard = ({ json }) => { if (json.method === LISTEN) fail(json.id) }
  for (const { json } of server.all(LISTEN).slice(-count)) fail(json.id)
  await until(() => proxy.log.filter(({ level }) => level === 'warn').length === count)
  server.onheard = () => {}
}

t.test('subscriptions that were lost with the server are opened again when it answers something', async (t) => {
  const proxy = makeProxy({ reopenDelay: 1 })
  const client = proxy.client().shakeHands({}, { tools: { listChanged: true }, prompts: { listChanged: true } })
  const { server } = client
  server.acknowledge({ toolsListChanged: true })
  client.ask('s', 'resources/subscribe', { uri: 'file:///a' })
  server.acknowledge({ resourceSubscriptions: ['file:///a'] })
  await loseAll(proxy, client, 2)
  const before = server.all(LISTEN).length
  t.equal(before, 12, 'each once, and five times more')
  client.heard.length = 0
  client.ask(1, 'tools/list')
  void server.say({ jsonrpc: '2.0', id: server.id('tools/list'), error: { code: -32000, message: 'still gone' } }, { local: true })
  t.equal(server.all(LISTEN).length, before, 'the proxy says this, not the server')
  client.ask(2, 'tools/list')
  server.answer('tools/list', { tools: [] })
  const [lists, resource] = server.all(LISTEN).slice(before).map(({ json }) => json)
  t.match([lists?.params, resource?.params], [{ notifications: { toolsListChanged: true } }, { notifications: { resourceSubscriptions: ['file:///a'] } }])
  client.ask(3, 'tools/list')
  server.answer('tools/list', { tools: [] })
  t.equal(server.all(LISTEN).length, before + 2, 'each once')
  t.strictSame(client.heard.map(({ json }) => json.id), [1, 2, 3])
  server.acknowledge({ toolsListChanged: true }, lists?.id as number)
  server.acknowledge({ resourceSubscriptions: ['file:///a'] }, resource?.id as number)
  t.strictSame(client.heard.slice(3).map(({ json }) => json), [
    { jsonrpc: '2.0', method: 'notifications/tools/list_changed' },
    { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'file:///a' } },
  ], 'what may have happened unseen')
  void server.say(updated(resource?.id as number))
  t.equal(client.all('notifications/resources/updated').length, 2)
})

t.test('a lost subscription that is asked for again is opened, and answered when it is there', async (t) => {
  const proxy = makeProxy({ reopenDelay: 1 })
  const client = proxy.client().shakeHands()
  const { server } = client
  client.ask('s', 'resources/subscribe', { uri: 'file:///a' })
  server.acknowledge({ resourceSubscriptions: ['file:///a'] })
  await loseAll(proxy, client, 1)
  proxy.log.length = 0
  client.ask(1, 'resources/subscribe', { uri: 'file:///a' })
  client.ask(2, 'resources/subscribe', { uri: 'file:///a' })
  t.equal(server.all(LISTEN).length, 7, 'once for both')
  t.equal(client.answer(1), undefined)
  await loseAll(proxy, client, 1)
  for (const id of [1, 2]) t.match(client.answer(id), { error: { code: -32000, message: 'gone' } })
  client.ask('given up', 'resources/subscribe', { uri: 'file:///a' })
  client.notify('notifications/cancelled', { requestId: 'given up' })
  t.equal(server.all('notifications/cancelled').length, 0, 'what the client had before stays')
  client.ask(3, 'resources/unsubscribe', { uri: 'file:///a' })
  const count = server.all(LISTEN).length
  client.ask(4, 'tools/list')
  server.answer('tools/list', { tools: [] })
  t.equal(server.all(LISTEN).length, count, 'what is not wanted any more does not come back')
  client.ask(5, 'resources/subscribe', { uri: 'file:///a' })
  server.acknowledge({ resourceSubscriptions: ['file:///a'] })
  t.strictSame(client.answer(5)?.result, {})
})

t.test('unsubscribed or closed, it is not opened again', async (t) => {
  const { client, server } = subscribed('file:///a', { reopenDelay: 1 })
  const other = subscribed('file:///a', { reopenDelay: 1 })
  server.answer(LISTEN, {})
  other.server.answer(LISTEN, {})
  client.ask(1, 'resources/unsubscribe', { uri: 'file:///a' })
  await other.client.connection.close()
  const last = subscribed('file:///a', { reopenDelay: 1 })
  last.server.answer(LISTEN, {})
  await until(() => last.server.all(LISTEN).length === 2)
  t.equal(server.all(LISTEN).length, 1)
  t.equal(other.server.all(LISTEN).length, 1)
  t.equal(server.all('notifications/cancelled').length, 0, 'what is over cannot be cancelled')
})

t.test('subscriptions are bounded', async (t) => {
  const client = makeProxy({ maxCalls: 1 }).client().shakeHands()
  const { server } = client
  for (let n = 0; n < 1_000; n++) client.ask(n, 'resources/subscribe', { uri: `a:${n}` })
  client.ask('more', 'resources/subscribe', { uri: 'a:more' })
  exactly(t, client.heard.map(({ json }) => json), [{ id: 'more', error: { data: { code: 'MCP_ERR_SUBSCRIPTION_LIMIT' } } }])
  t.equal(server.all(LISTEN).length, 1_000)
  client.ask(5, 'tools/list')
  t.match(client.heard.at(-1)?.json, { id: 5, error: { data: { code: 'MCP_ERR_ID_IN_USE' } } })
  client.ask('u', 'resources/unsubscribe', { uri: 'a:7' })
  client.ask('more', 'resources/subscribe', { uri: 'a:more' })
  t.equal(server.all(LISTEN).length, 1_001)
})

t.test('50 sessions that subscribe to the same hear only of their own', async (t) => {
  const proxy = makeProxy()
  const clients = Array.from({ length: 50 }, () => proxy.client().shakeHands())
  for (const client of clients) {
    client.ask(1, 'resources/subscribe', { uri: 'a:' })
    client.server.acknowledge({ resourceSubscriptions: ['a:'] })
  }
  for (const { server } of clients.filter((_, n) => n % 2 === 0)) void server.say(updated(server.id(LISTEN), 'a:'))
  t.strictSame(clients.map(client => client.heard.length), clients.map((_, n) => n % 2 === 0 ? 2 : 1))
})
