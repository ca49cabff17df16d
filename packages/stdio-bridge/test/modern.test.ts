import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Client, makeBridge, until, type TestBridge } from './helpers/bridge.js'
import { asModern, envelope, MODERN_CHILD, type ModernClient } from './helpers/modern.js'
import type { FastifyRequest } from '@mcp-proxy/protocol'
import type { StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import type { Teardown } from './helpers/bridge.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const LEVEL = (level: string): object => ({ 'io.modelcontextprotocol/logLevel': level })

function modern (t: Teardown, options: Partial<StdioBridgeOptions> = {}): TestBridge & { party: (principal?: string) => ModernClient } {
  const made = makeBridge(t, { command: MODERN_CHILD, isolation: 'auto', ...options })
  return { ...made, party: principal => asModern(made.client(principal)) }
}

t.test('requests cross as they are, under ids of the bridge', async (t) => {
  const { party } = modern(t)
  const [one, two] = [party(), party()]
  for (const id of [1, '1']) {
    const raw = JSON.parse(await one.tool(id, 'raw', { n: 1 }, { 'x/y': ['z'] })) as { id: number, params: object }
    t.type(raw.id, 'number')
    t.not(raw.id, id)
    t.same(raw.params, { name: 'raw', arguments: { n: 1 }, _meta: envelope({}, { 'x/y': ['z'] }) })
  }
  one.say(7, 'tools/call', { name: 'log', arguments: { wait: true } })
  two.say(7, 'tools/call', { name: 'echo', arguments: { text: 'two' } })
  t.match((await two.client.answer(7)).result, { content: [{ text: 'two' }] })
  await two.tool(8, 'open')
  t.match((await one.client.answer(7)).result, { content: [{ text: 'logged' }] }, 'equal ids do not meet')
})

t.test('input that a server asks for is the client\'s business, and its state stays as it is', async (t) => {
  const { party } = modern(t)
  const one = party()
  const asked = (await one.request(1, 'tools/call', { name: 'greet' })).result
  t.match(asked, { resultType: 'input_required', inputRequests: { name: { method: 'elicitation/create' } }, requestState: 'state ✓' })
  t.match((await one.request(2, 'tools/call', { name: 'greet', inputResponses: { name: { action: 'accept', content: { name: 'Ada' } } }, requestState: 'state ✓' })).result, { content: [{ text: 'Hello Ada' }] })
})

t.test('progress goes to its call, before the answer', async (t) => {
  const { party } = modern(t)
  const [one, two] = [party(), party()]
  await Promise.all([one, two].map(client => client.tool(5, 'progress', { count: 50 }, { progressToken: 'same' })))
  for (const { client } of [one, two]) {
    t.same(client.items.map(({ json }) => json.params?.['progress'] ?? 'answer'), [...Array.from({ length: 50 }, (_, n) => n + 1), 'answer'])
    t.ok(client.items.slice(0, -1).every(({ json, options }) => json.params?.['progressToken'] === 'same' && options?.relatedRequestId === '5'))
  }
})

t.test('errors of the server pass with their code and data', async (t) => {
  const { party } = modern(t)
  t.match((await party().request(1, 'tools/call', { name: 'rpcError', arguments: { code: -32021, data: { requiredCapabilities: { sampling: {} } } } })).error, { code: -32021, data: { requiredCapabilities: { sampling: {} } } })
  t.match((await party().request(1, 'x/unheard')).error, { code: -32601 })
})

t.test('a server without callbacks that asks all the same is refused', async (t) => {
  const { party, log } = modern(t)
  const one = party()
  one.say(1, 'tools/call', { name: 'ask' })
  await log.first(({ text }) => text.includes('refused a request of a server'))
  t.equal(one.client.items.length, 0)
})

t.test('cancelling reaches the server, and so does leaving', async (t) => {
  const { party, log } = modern(t)
  const [one, two] = [party(), party()]
  await one.tool(1, 'echo')
  one.say(2, 'tools/call', { name: 'log', arguments: { wait: true } })
  one.cancel(2)
  await log.stderr(/^cancelled \d+$/)
  two.say(3, 'tools/call', { name: 'log', arguments: { wait: true } })
  await two.tool(4, 'echo')
  await two.client.connection.close()
  await until(() => log.stderrLines(/^cancelled \d+$/).length === 2)
  t.notOk(one.client.items.some(({ json }) => json.id === 2))
})

t.test('however many subscribe, the child keeps one subscription', async (t) => {
  const { party } = modern(t)
  const clients = Array.from({ length: 20 }, () => party())
  await Promise.all(clients.map((client, n) => client.listen('sub', n % 2 === 0 ? { toolsListChanged: true } : { resourceSubscriptions: [`test://${n}`] })))
  const [first, second] = clients as [ModernClient, ModernClient]
  t.equal((JSON.parse(await first.tool(1, 'listens')) as unknown[]).length, 1)

  await first.tool(2, 'listChanged')
  await first.tool(3, 'update', { uri: 'test://1' })
  t.same(first.heard('sub').map(({ method }) => method), ['notifications/subscriptions/acknowledged', 'notifications/tools/list_changed'])
  t.same(second.heard('sub').map(({ method }) => method), ['notifications/subscriptions/acknowledged', 'notifications/resources/updated'])
  t.ok(second.client.items.every(({ options }) => options?.relatedRequestId === '"sub"'))
  t.equal(clients.filter(client => client.heard('sub').length > 1).length, 11, 'and nobody else')
})

t.test('what the server does not honour is not acknowledged', async (t) => {
  const { party } = modern(t)
  t.same(await party().listen(1, { toolsListChanged: true, promptsListChanged: true, resourceSubscriptions: ['test://a', 'test://refused'] }), { toolsListChanged: true, resourceSubscriptions: ['test://a'] })
  t.same(await party().listen(1, {}), {})
})

t.test('a subscription ends with its client, and the child hears when nobody is left', async (t) => {
  const { party, log } = modern(t)
  const [one, two] = [party(), party()]
  await one.listen(1, { toolsListChanged: true })
  await two.listen(1, { toolsListChanged: true })
  one.cancel(1)
  await two.tool(2, 'listChanged')
  t.equal(one.heard(1).length, 1)
  t.equal(two.heard(1).length, 2)
  await two.client.connection.close()
  await log.stderr(/^cancelled "mcp-proxy:listen:/)
  t.same(JSON.parse(await one.tool(3, 'listens')), [])
})

t.test('changing who listens for what loses nothing and says nothing twice', async (t) => {
  const { party } = modern(t)
  const [one, two] = [party(), party()]
  await one.listen('a', { toolsListChanged: true })
  for (let n = 0; n < 10; n++) {
    two.say(`l${n}`, 'subscriptions/listen', { notifications: { resourceSubscriptions: [`test://${n}`] } })
    await one.tool(n, 'listChanged')
  }
  await until(() => one.heard('a').length > 10)
  await one.tool('last', 'echo')
  t.equal(one.heard('a').filter(({ method }) => method === 'notifications/tools/list_changed').length, 10)
})

t.test('a filter that the bridge does not know is the server\'s, under an id of its own', async (t) => {
  const { party } = modern(t)
  const one = party()
  one.say('own', 'subscriptions/listen', { notifications: { toolsListChanged: true, 'vendor/x': true } })
  await until(() => one.heard('own').length === 1)
  await one.tool(1, 'listChanged')
  t.same(one.heard('own').map(({ method }) => method), ['notifications/subscriptions/acknowledged', 'notifications/tools/list_changed'])
  await one.tool(2, 'endListens')
  t.match((await one.client.answer('own')).result, { _meta: { 'io.modelcontextprotocol/subscriptionId': 'own' } })
  t.match((await one.request('bad', 'subscriptions/listen', { notifications: 7 })).error, { code: -32602, message: 'no filter' }, 'what is no filter is answered by the server')
})

t.test('a server that ends a subscription ends it for all who have it', async (t) => {
  const { party } = modern(t)
  const [one, two] = [party(), party()]
  await Promise.all([one.listen('x', { toolsListChanged: true }), two.listen(9, { toolsListChanged: true })])
  await one.tool(1, 'endListens')
  t.match((await one.client.answer('x')).result, { resultType: 'complete', _meta: { 'io.modelcontextprotocol/subscriptionId': 'x' } })
  t.match((await two.client.answer(9)).result, { resultType: 'complete', _meta: { 'io.modelcontextprotocol/subscriptionId': 9 } })
})

t.test('subscriptions outlive the child: the next one knows them, and clients are told to look again', async (t) => {
  const { party, bridge } = modern(t)
  const one = party()
  await one.listen('x', { toolsListChanged: true })
  one.say(1, 'tools/call', { name: 'exit' })
  t.match((await one.client.answer(1)).error, { data: { code: 'MCP_ERR_CHILD_EXITED' } })
  await until(() => one.heard('x').length === 2)
  t.equal(one.heard('x')[1]?.method, 'notifications/tools/list_changed')
  await until(() => bridge.status().children[0]?.state === 'ready')
  await one.tool(2, 'listChanged')
  await until(() => one.heard('x').length === 3)
  t.equal(one.heard('x').filter(({ method }) => method?.endsWith('acknowledged') === true).length, 1, 'the acknowledgement is not repeated')
})

t.test('open subscriptions end well when the bridge closes', async (t) => {
  const { party, bridge } = modern(t)
  const one = party()
  await one.listen('x', { toolsListChanged: true })
  await bridge.close()
  t.match((await one.client.answer('x')).result, { resultType: 'complete' })
})

t.test('log messages go to the call that asks for them; calls that both ask get a child each', async (t) => {
  const { party, bridge } = modern(t)
  const [one, two, three] = [party(), party(), party()]
  await three.tool(0, 'log', { data: 'nobody asks' })
  one.say(1, 'tools/call', { name: 'log', arguments: { data: 'one', wait: true } }, LEVEL('info'))
  await until(() => one.client.items.length === 1)
  await two.tool(1, 'log', { data: 'two' }, LEVEL('info'))
  await three.tool(1, 'echo')
  await three.tool(2, 'open')
  await one.client.answer(1)
  t.same(one.client.all('notifications/message').map(({ params }) => params?.['data']), ['one'])
  t.same(two.client.all('notifications/message').map(({ params }) => params?.['data']), ['two'])
  t.same(three.client.all('notifications/message'), [])
  t.ok(bridge.status().children.length >= 2, 'by a child of its own')
  t.ok([one, two].every(({ client }) => client.items.filter(({ json }) => json.method !== undefined).every(({ options }) => options?.relatedRequestId === '1')))
})

t.test('one child serves all whatever they declare; with isolation "session" or "request" each call has its own', async (t) => {
  const shared = modern(t)
  const clients = [shared.party(), asModern(shared.client(), { elicitation: {}, sampling: {} }), shared.party('alice')]
  const pids = await Promise.all(clients.map(client => client.tool(1, 'pid')))
  t.equal(new Set(pids).size, 1)
  for (const isolation of ['session', 'request'] as const) {
    const { party } = modern(t, { isolation })
    const one = party()
    t.equal(new Set([await one.tool(1, 'pid'), await one.tool(2, 'pid'), await party().tool(1, 'pid')]).size, 3, isolation)
  }
  const { party } = modern(t, { isolation: 'principal' })
  const [a, b, c] = await Promise.all(['alice', 'bob', 'alice'].map(name => party(name).tool(1, 'pid')))
  t.not(a, b)
  t.equal(a, c)
})

t.test('a retry goes to the child that has asked, whose state no other may know', async (t) => {
  const ask = { name: 'greetHere' }
  const retry = (requestState: unknown): object => ({ ...ask, requestState, inputResponses: { name: { action: 'accept', content: { name: 'Ada' } } } })
  for (const isolation of ['auto', 'session', 'request', 'principal'] as const) {
    const { party } = modern(t, { isolation })
    const [other, logging, late] = [party('alice'), party('alice'), party('alice')]
    logging.say(1, 'tools/call', { name: 'log', arguments: { data: 'x', wait: true } }, LEVEL('info'))
    if (isolation === 'auto' || isolation === 'principal') await until(() => logging.client.items.length === 1)
    const asked = (await party('alice').request(1, 'tools/call', ask, LEVEL('info'))).result
    t.match(asked, { resultType: 'input_required' })
    if (isolation === 'auto' || isolation === 'principal') await other.tool(1, 'open')
    // another of the same kind, so that some child is free
    await other.tool(2, 'pid')
    t.match((await party('bob').request(2, 'tools/call', retry(asked?.['requestState']))).error, { message: 'not my state' }, `${isolation}: not for another user`)
    t.match((await late.request(2, 'tools/call', retry(asked?.['requestState']), LEVEL('info'))).result, { content: [{ text: 'Hello Ada' }] }, isolation)
  }
})

t.test('a retry for the shared child comes to it while others log there, and logs nothing', async (t) => {
  const { party } = modern(t)
  const [one, two] = [party(), party()]
  const asked = (await one.request(1, 'tools/call', { name: 'greetHere' }, LEVEL('info'))).result
  two.say(1, 'tools/call', { name: 'log', arguments: { data: 'two', wait: true } }, LEVEL('info'))
  await until(() => two.client.items.length === 1)
  t.match((await one.request(2, 'tools/call', { name: 'greetHere', requestState: asked?.['requestState'], inputResponses: { name: { action: 'accept', content: { name: 'Ada' } } } }, LEVEL('info'))).result, { content: [{ text: 'Hello Ada' }] })
  t.same(one.client.all('notifications/message'), [])
  await one.tool(3, 'open')
})

t.test('without a child that stays nothing can be subscribed to', async (t) => {
  const { party } = modern(t, { isolation: 'request' })
  await party().tool(1, 'echo')
  t.same(await party().listen('x', { toolsListChanged: true }), {})
  const own = modern(t, { isolation: 'session' }).party()
  t.same(await own.listen('x', { toolsListChanged: true }), { toolsListChanged: true }, 'a child of its own stays as long as it is listened to')
})

t.test('a modern server is looked after with a request that it knows', async (t) => {
  const { party, log } = modern(t, { pingInterval: 20, pingTimeout: 5000, env: { MCP_CHILD_LOG: '1' } })
  const pid = await party().tool(1, 'pid')
  await until(() => log.stderrLines(/server\/discover/).length >= 4)
  t.equal(await party().tool(2, 'pid'), pid)
  t.equal(log.stderrLines(/"ping"/).length, 0)
})

t.test('an id that is open cannot be used again, a subscription\'s neither', async (t) => {
  const { party } = modern(t)
  const one = party()
  await one.listen(1, { toolsListChanged: true })
  one.say(1, 'tools/call', { name: 'echo' })
  t.match((await one.client.answer(1)).error, { data: { code: 'MCP_ERR_ID_IN_USE' } })
})

t.test('a session lets go of the HTTP request that has opened it', async (t) => {
  for (const upstreamEra of ['modern', 'auto'] as const) {
    const { bridge, log } = makeBridge(t, { command: MODERN_CHILD, isolation: 'auto', upstreamEra })
    const client = new Client()
    const ref = ((): WeakRef<object> => {
      const request = { headers: {} } as unknown as FastifyRequest
      client.connection = bridge.connect(client, { id: 'test', principal: undefined, request, log })
      return new WeakRef(request)
    })()
    t.match(await client.initialize(), { result: {} })
    await until(() => { collectGarbage(); return ref.deref() === undefined })
    t.equal(ref.deref(), undefined, upstreamEra)
  }
})
