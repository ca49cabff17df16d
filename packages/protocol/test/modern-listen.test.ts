import t from 'tap'
import { FakeClient, SUBSCRIPTION_ID, at, setUp, type FakeOptions, type Json, type Setup } from './fake-legacy.js'

const EVERYTHING = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions: ['a:1', 'a:2'] }
const OFFERED = { tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true, subscribe: true } }
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged'

function listen (notifications: unknown, fake: FakeOptions = {}): Setup {
  const all = setUp({ capabilities: OFFERED, ...fake })
  all.client.ask('l', 'subscriptions/listen', { notifications })
  return all
}

function grant ({ source }: Setup, ...granted: boolean[]): void {
  for (const [index, ok] of granted.entries()) source.last.say({ id: source.last.heard[index]?.id, ...(ok ? { result: {} } : { error: { code: -32602, message: 'no' } }) })
}

const methods = (client: FakeClient): unknown[] => client.messages.map(({ method }) => method)

t.test('a subscription is acknowledged with what the server can tell', async (t) => {
  for (const [asked, capabilities, honoured] of [
    [{ toolsListChanged: true, promptsListChanged: false }, OFFERED, { toolsListChanged: true }],
    [{ toolsListChanged: true, resourcesListChanged: true }, { tools: {}, resources: { listChanged: true } }, { resourcesListChanged: true }],
    [{ resourceSubscriptions: ['a:1'] }, { resources: { listChanged: true } }, {}],
    [{ toolsListChanged: 'yes', unknown: true }, OFFERED, {}],
    [{ resourceSubscriptions: [] }, OFFERED, {}],
  ] as const) {
    const { client, source } = listen(asked, { capabilities })
    t.strictSame(client.messages, [{ jsonrpc: '2.0', method: ACKNOWLEDGED, params: { notifications: honoured, _meta: { [SUBSCRIPTION_ID]: 'l' } } }])
    t.strictSame(client.options, { relatedRequestId: '"l"' })
    t.match(source.last.need, { method: 'subscriptions/listen', introduction: undefined, alone: false, stays: true })
  }
})

t.test('resources are subscribed to first; what comes meanwhile waits behind the acknowledgement', async (t) => {
  const all = listen({ ...EVERYTHING, resourceSubscriptions: ['a:1', 'a:2', 'a:1'] })
  const { client, source: { last: server } } = all
  t.strictSame(server.heard.map(({ method, params }) => [method, params]), [['resources/subscribe', { uri: 'a:1' }], ['resources/subscribe', { uri: 'a:2' }]], 'each once')
  server.say({ method: 'notifications/tools/list_changed' })
  t.equal(client.got.length, 0)
  grant(all, false, true)
  t.strictSame(methods(client), [ACKNOWLEDGED, 'notifications/tools/list_changed'])
  t.strictSame(at(client.messages[0], 'params', 'notifications'), { ...EVERYTHING, resourceSubscriptions: ['a:2'] }, 'one that failed is not honoured')
})

t.test('notifications are tagged with the id of their subscription, and keep their bytes', async (t) => {
  const all = setUp({ capabilities: OFFERED })
  all.client.write(`{"jsonrpc":"2.0","id":90071992547409931,"method":"subscriptions/listen","params":{"notifications":${JSON.stringify(EVERYTHING)},"_meta":{}}}`)
  const { client, source: { last: server } } = all
  grant(all, true, true)
  const tag = `"${SUBSCRIPTION_ID}":90071992547409931`
  server.say('{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}')
  server.say('{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:1/below","n": 1.0,"_meta":{"x":1.0}}}')
  t.match(client.texts[0], tag)
  t.strictSame(client.texts.slice(1), [
    `{"params":{"_meta":{${tag}}},"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`,
    `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:1/below","n": 1.0,"_meta":{"x":1.0,${tag}}}}`,
  ])
})

t.test('nothing is told that was not asked for', async (t) => {
  const { client, source: { last: server } } = listen({ promptsListChanged: true })
  for (const method of ['notifications/tools/list_changed', 'notifications/resources/list_changed', 'notifications/resources/updated', 'notifications/message', 'notifications/progress', 'notifications/vendor']) server.say({ method, params: {} })
  t.strictSame(methods(client), [ACKNOWLEDGED])
  server.say({ method: 'notifications/prompts/list_changed' })
  t.equal(client.got.length, 2)
  server.say({ id: 1, method: 'ping' })
  t.strictSame(server.last, { jsonrpc: '2.0', id: 1, result: {} })
  server.say({ id: 2, method: 'roots/list' })
  t.match(server.last, { id: 2, error: { code: -32601 } })
  server.say({ id: 'l', result: {} })
  t.equal(client.got.length, 2, 'a server does not know the request, and does not answer it')
})

t.test('a filter that makes no sense is refused', async (t) => {
  for (const filter of [undefined, null, [], 'x', { resourceSubscriptions: 'a:1' }, { resourceSubscriptions: [1] }, { resourceSubscriptions: Array.from({ length: 1001 }, String) }]) {
    const { client, source } = listen(filter)
    t.match(client.last, { id: 'l', error: { code: -32602, data: { code: 'MCP_ERR_PARAMS' } } })
    t.equal(source.servers.length, 0)
  }
})

t.test('a subscription ends when its client has had enough', async (t) => {
  const all = listen({ toolsListChanged: true })
  all.client.ask('m', 'subscriptions/listen', { notifications: { toolsListChanged: true } })
  const [first, second] = all.source.servers
  all.client.notify('notifications/cancelled', { requestId: 'l' })
  t.strictSame([first?.closed, second?.closed], [1, 0])
  first?.say({ method: 'notifications/tools/list_changed' })
  second?.say({ method: 'notifications/tools/list_changed' })
  t.strictSame(all.client.messages.slice(2).map(message => at(message, 'params', '_meta')), [{ [SUBSCRIPTION_ID]: 'm' }])
  await all.client.close()
  t.equal(second?.closed, 1)
})

t.test('a subscription whose server goes, or that ends with the proxy, is answered', async (t) => {
  const end: Json = { jsonrpc: '2.0', id: 'l', result: { resultType: 'complete', _meta: { [SUBSCRIPTION_ID]: 'l' } } }
  const lost = listen({})
  lost.source.last.lose()
  t.strictSame(lost.client.last, end)
  const stopped = listen({})
  await stopped.connect.close()
  t.strictSame(stopped.client.last, end)
  t.equal(stopped.source.last.closed, 1)
  const early = listen({ resourceSubscriptions: ['a:1'] })
  early.source.last.lose()
  t.match(early.client.last, { id: 'l', error: { data: { code: 'MCP_ERR_STOPPED' } } }, 'with an error where it was never acknowledged')
})
