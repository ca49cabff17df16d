import t from 'tap'
import { FakeClient, LOG_LEVEL, at, setUp, until, type FakeServer, type Json, type Setup } from './fake-legacy.js'

const ALL = { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: {} }
const CALL = { name: 'x', arguments: { b: [1, { d: 1, c: 2 }], a: 'y' } }
const TOKEN = '90071992547409931'

interface Parked extends Setup { server: FakeServer, state: string }

/** A call whose server has asked for roots, and whose client knows. */
async function park (options: Parameters<typeof setUp>[1] = {}, meta: Json = {}, principal?: string): Promise<Parked> {
  const all = setUp({}, options)
  const client = new FakeClient(all.connect, principal)
  const server = call(all, client, 1, meta)
  server.say({ id: 's1', method: 'roots/list' })
  await until(() => client.got.length > 0)
  return { ...all, client, server, state: stateOf(client) }
}

function call ({ source }: Setup, client: FakeClient, id: number, meta: Json = {}): FakeServer {
  client.ask(id, 'tools/call', CALL, { capabilities: ALL, ...meta })
  return source.last
}

function stateOf (client: FakeClient): string {
  return at(client.last, 'result', 'requestState') as string
}

function retry (client: FakeClient, id: number, requestState: unknown, inputResponses: unknown, meta: Json = {}, params: Json = CALL, method = 'tools/call'): void {
  client.ask(id, method, { ...params, inputResponses, requestState }, { capabilities: ALL, ...meta })
}

const inputs = (client: FakeClient): unknown => at(client.last, 'result', 'inputRequests')
const reason = (client: FakeClient): unknown => at(client.last, 'error', 'message')

t.test('what a server asks in one go is asked in one round, and the call goes on with the answers', async (t) => {
  const all = setUp()
  const { client, source } = all
  const server = call(all, client, 1)
  server.say('{"jsonrpc":"2.0","id":"s1","method":"elicitation/create","params":{"message":"m","n":90071992547409931,"requestedSchema":{"b":1.0,"a":2}}}')
  server.say('{"jsonrpc":"2.0","id":2,"method":"sampling/createMessage","params":{"messages":[ ],"maxTokens":1}}')
  server.say('{"jsonrpc":"2.0","id":3,"method":"roots/list"}')
  server.say('{"jsonrpc":"2.0","id":4,"method":"elicitation/create","params":{"mode":"url","elicitationId":"e","url":"https://a.test/","message":"go"}}')
  await until(() => client.got.length > 0)
  const state = stateOf(client)
  t.equal(client.texts[0], '{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{' +
    '"elicitation-1":{"method":"elicitation/create","params":{"message":"m","n":90071992547409931,"requestedSchema":{"b":1.0,"a":2}}},' +
    '"sampling-2":{"method":"sampling/createMessage","params":{"messages":[ ],"maxTokens":1}},' +
    '"roots-3":{"method":"roots/list","params":{}},' +
    `"elicitation-4":{"method":"elicitation/create","params":{"mode":"url","url":"https://a.test/","message":"go"}}},"requestState":"${state}"}}`)
  t.strictSame([client.options, server.closed], [{ relatedRequestId: '1' }, 0], 'it stays open on its server')

  await client.close()
  t.equal(server.closed, 0, 'also when the connection of its first request has gone')
  const next = new FakeClient(all.connect)
  const params = JSON.stringify({ ...CALL, requestState: state, _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': ALL } })
  next.write(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"inputResponses":{"unknown":{},"elicitation-4":{"action":"accept"},"roots-3":{"roots":[ ]},"elicitation-1":{"action":"accept","content":{"n":90071992547409931}},"sampling-2":{"b":1.0}},${params.slice(1)}}`)
  t.strictSame(server.texts.slice(1).toSorted(), [
    '{"jsonrpc":"2.0","id":"s1","result":{"action":"accept","content":{"n":90071992547409931}}}',
    '{"jsonrpc":"2.0","id":2,"result":{"b":1.0}}',
    '{"jsonrpc":"2.0","id":3,"result":{"roots":[ ]}}',
    '{"jsonrpc":"2.0","id":4,"result":{"action":"accept"}}',
  ].toSorted(), 'the answers keep their bytes')
  server.say('{"jsonrpc":"2.0","id":1,"result":{"content":[1.0]}}', { relatedRequestId: '1' })
  t.match(next.texts[0], /^\{"jsonrpc":"2.0","id":2,"result":\{"resultType":"complete",.*"content":\[1.0\]\}\}$/)
  t.strictSame([next.options, server.closed, source.servers.length], [{ relatedRequestId: '2' }, 1, 1], 'the tool ran once')
})

t.test('a call may take several rounds; no key comes twice', async (t) => {
  const { client, server, state } = await park()
  t.strictSame(Object.keys(inputs(client) as Json), ['roots-1'])
  let last = state
  for (const round of [2, 3, 4]) {
    retry(client, round, last, { [`roots-${round - 1}`]: { roots: [] } })
    server.say({ id: `s${round}`, method: 'roots/list' })
    await until(() => client.got.length === round)
    t.strictSame(Object.keys(inputs(client) as Json), [`roots-${round}`])
    t.not(stateOf(client), last)
    last = stateOf(client)
  }
  retry(client, 5, last, { 'roots-4': { roots: [] } })
  server.say({ id: 1, result: {} })
  t.match(client.last, { id: 5, result: { resultType: 'complete' } })
})

t.test('answers that are missing or no objects are asked for again at once', async (t) => {
  const all = setUp()
  const { client } = all
  const server = call(all, client, 1)
  server.say({ id: 's1', method: 'roots/list' })
  server.say({ id: 's2', method: 'sampling/createMessage', params: {} })
  await until(() => client.got.length > 0)
  let id = 2
  for (const responses of [undefined, null, 7, {}, { 'roots-1': 12345 }, { 'roots-1': null, 'sampling-2': [] }, { other: {} }]) {
    const state = stateOf(client)
    retry(client, id, state, responses)
    t.strictSame([at(client.last, 'id'), Object.keys(inputs(client) as Json)], [id, ['roots-1', 'sampling-2']])
    t.not(stateOf(client), state)
    id++
  }
  retry(client, 20, stateOf(client), { 'sampling-2': {} })
  t.strictSame(Object.keys(inputs(client) as Json), ['roots-1'], 'and just those')
  t.match(server.last, { id: 's2', result: {} }, 'the others have reached the server')
  retry(client, 21, stateOf(client), { 'roots-1': {} })
  t.match(server.last, { id: 's1', result: {} })
})

t.test('a retry without a state is a call like any other', async (t) => {
  const all = setUp()
  all.client.ask(1, 'tools/call', { ...CALL, inputResponses: { 'roots-1': {} } }, { capabilities: ALL })
  t.strictSame(all.source.last.last['params'], CALL)
})

t.test('a state is refused that is not exactly what was given to this user for this request, unused', async (t) => {
  const { client, connect, server, state, source } = await park({ stateKey: 'k' }, {}, 'ann')
  const responses = { 'roots-1': { roots: [] } }
  const refused = (reason: RegExp, other = client): void => {
    t.match(other.last, { error: { code: -32602, message: reason, data: { code: 'MCP_ERR_REQUEST_STATE' } } })
    t.match(other.options, { status: 400, local: true })
  }
  for (const text of ['', 'x', null, 7, {}, '-TAMPERED', `${state}-TAMPERED`, `${state}A`, ` ${state}`, `${state}=`, state.slice(1), state.slice(0, -1), 'A'.repeat(40)]) {
    retry(client, 2, text, responses)
    refused(/malformed or was changed/)
  }
  const bob = new FakeClient(connect, 'bob')
  retry(bob, 2, state, responses)
  refused(/another user's/, bob)
  const nobody = new FakeClient(connect)
  retry(nobody, 2, state, responses)
  refused(/another user's/, nobody)
  retry(client, 2, state, responses, {}, { ...CALL, name: 'z' })
  refused(/another request/)
  retry(client, 2, state, responses, {}, { ...CALL, extra: 1 })
  refused(/another request/)
  retry(client, 2, state, responses, {}, CALL, 'prompts/get')
  refused(/another request/)
  const other = await park({ stateKey: 'k' }, {}, 'ann')
  retry(other.client, 2, state, responses)
  refused(/its call is over/, other.client)
  const foreign = await park({ stateKey: 'other' }, {}, 'ann')
  retry(foreign.client, 2, state, responses)
  refused(/malformed or was changed/, foreign.client)
  t.equal(server.heard.length, 1, 'and the server hears of none')

  retry(client, 3, state, responses, {}, { arguments: { a: 'y', b: [1, { c: 2, d: 1 }] }, name: 'x' })
  t.match(server.last, { id: 's1', result: { roots: [] } }, 'the order of members does not matter')
  retry(client, 4, state, responses)
  refused(/used already/)
  server.say({ id: 1, result: {} })
  t.match(client.last, { id: 3, result: {} })
  retry(client, 5, state, responses)
  refused(/used already/)
  t.equal(source.servers.length, 1)
})

t.test('a call expires that nobody comes back for', async (t) => {
  const { client, server, state } = await park({ parkTimeout: 5 })
  await until(() => server.closed === 1)
  await until(() => {
    retry(client, 2, state, { 'roots-1': {} })
    return /expired/.test(String(reason(client)))
  })
  t.equal(server.heard.length, 1)
})

t.test('the user who has most parked calls loses the oldest when there is no place', async (t) => {
  const all = setUp({}, { maxParkedCalls: 3 })
  const ann = new FakeClient(all.connect, 'ann')
  const bob = new FakeClient(all.connect, 'bob')
  const servers: FakeServer[] = []
  for (const [index, client] of [bob, ann, ann, bob, ann].entries()) {
    const server = call(all, client, index)
    servers.push(server)
    const before = client.got.length
    server.say({ id: 's', method: 'roots/list' })
    await until(() => client.got.length > before)
    if (index === 3) t.strictSame(servers.map(({ closed }) => closed), [1, 0, 0, 0], 'with equal ones, whose is older')
  }
  t.strictSame(servers.map(({ closed }) => closed), [1, 1, 0, 0, 0])
  await all.connect.close()
  t.strictSame(servers.map(({ closed }) => closed), [1, 1, 1, 1, 1], 'and all end with the proxy')
})

t.test('a call that was answered meanwhile answers the retry at once, after what was said before', async (t) => {
  const { client, server, state } = await park({}, { progressToken: 1, [LOG_LEVEL]: 'debug' })
  server.say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1.0,"n":${TOKEN}}}`)
  server.say({ method: 'notifications/message', params: { level: 'info', data: 1 } })
  server.say({ method: 'notifications/message', params: { level: 'error', data: 2 } })
  server.say({ id: 1, result: { ok: true } })
  t.strictSame([server.closed, client.got.length], [1, 1])
  retry(client, 2, state, {}, { progressToken: 'p', [LOG_LEVEL]: 'error' })
  t.equal(client.texts[1], `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1.0,"n":${TOKEN}}}`)
  t.match(client.messages.slice(2), [{ params: { data: 2 } }, { id: 2, result: { ok: true } }])
  t.equal(client.got.length, 4)
  t.ok(client.got.slice(1).every(({ options }) => options?.relatedRequestId === '2'))
})

t.test('what is kept for a retry is bounded: the oldest goes', async (t) => {
  const { client, server, state } = await park({}, { progressToken: 1 })
  for (let progress = 1; progress <= 250; progress++) server.say({ method: 'notifications/progress', params: { progressToken: 1, progress } })
  server.say({ id: 1, result: {} })
  retry(client, 2, state, {}, { progressToken: 1 })
  t.equal(client.got.length, 1 + 100 + 1)
  t.match(client.messages[1], { params: { progress: 151 } })

  const large = await park({}, { progressToken: 1 })
  for (let progress = 1; progress <= 10; progress++) large.server.say({ method: 'notifications/progress', params: { progressToken: 1, progress, message: 'x'.repeat(60_000) } })
  retry(large.client, 2, large.state, {}, { progressToken: 1 })
  t.strictSame(large.client.messages.slice(1).map(message => at(message, 'params', 'progress')), [7, 8, 9, 10, undefined], 'the last asks again')
})

t.test('a retry hears progress and logs as it wants them itself', async (t) => {
  const { client, server, state } = await park({}, { progressToken: 'first', [LOG_LEVEL]: 'error' })
  retry(client, 2, state, { 'roots-1': {} }, { progressToken: 7, [LOG_LEVEL]: 'info' })
  t.strictSame(server.heard.slice(2).map(({ method, params }) => [method, params]), [['logging/setLevel', { level: 'info' }], [undefined, undefined]], 'the new level comes first')
  server.say({ method: 'notifications/progress', params: { progressToken: 'first', progress: 1 } })
  server.say({ method: 'notifications/message', params: { level: 'info', data: 1 } })
  server.say({ id: 's2', method: 'roots/list' })
  await until(() => client.got.length === 4)
  t.match(client.messages.slice(1), [{ params: { progressToken: 7, progress: 1 } }, { params: { data: 1 } }, { id: 2, result: { resultType: 'input_required' } }])
  retry(client, 3, stateOf(client), { 'roots-2': {} })
  server.say({ method: 'notifications/progress', params: { progressToken: 'first', progress: 2 } })
  server.say({ method: 'notifications/message', params: { level: 'error', data: 1 } })
  t.equal(client.got.length, 4, 'without a token or a level there is none')
})

t.test('what a server asks while the call is parked is for the next round', async (t) => {
  const { client, server, state } = await park()
  server.say({ id: 's2', method: 'sampling/createMessage', params: {} })
  retry(client, 2, state, { 'roots-1': {}, 'sampling-2': {} })
  await until(() => client.got.length === 2)
  t.strictSame(Object.keys(inputs(client) as Json), ['sampling-2'], 'a key that was guessed answers nothing')
  retry(client, 3, stateOf(client), { 'sampling-2': { x: 1 } })
  t.match(server.last, { id: 's2', result: { x: 1 } })
})

t.test('a server may withdraw what it has asked, before the round or while the call is parked', async (t) => {
  const all = setUp()
  const server = call(all, all.client, 1)
  server.say({ id: 's1', method: 'roots/list' })
  server.say({ id: 's2', method: 'roots/list' })
  server.say({ method: 'notifications/cancelled', params: { requestId: 's1' } })
  await until(() => all.client.got.length === 1)
  t.strictSame(Object.keys(inputs(all.client) as Json), ['roots-2'])
  server.say({ method: 'notifications/cancelled', params: { requestId: 's2' } })
  retry(all.client, 2, stateOf(all.client), { 'roots-2': {} })
  t.equal(server.heard.length, 1, 'nobody wants the answer')
  server.say({ id: 1, result: {} })
  t.match(all.client.last, { id: 2, result: { resultType: 'complete' } })
})

t.test('a retry is told when the server of its call has gone', async (t) => {
  const { client, server, state } = await park()
  server.lose()
  t.equal(server.closed, 1)
  retry(client, 2, state, { 'roots-1': {} })
  t.match(reason(client), /its call is over/)

  const told = await park()
  told.server.say({ id: 1, error: { code: -32000, message: 'died' } }, { local: true, relatedRequestId: '1' })
  retry(told.client, 2, told.state, { 'roots-1': {} })
  t.match(told.client.last, { id: 2, error: { code: -32000, message: 'died' } })
  t.strictSame(told.client.options, { local: true, relatedRequestId: '2' })
})

t.test('a client is not asked what it cannot do: the call ends, and it is told what to declare', async (t) => {
  const form = { method: 'elicitation/create', params: { message: 'm', requestedSchema: {} } }
  const url = { method: 'elicitation/create', params: { mode: 'url', url: 'https://a.test/' } }
  for (const [capabilities, asked, required] of [
    [{ roots: {} }, form, { elicitation: { form: {} } }],
    [{ elicitation: { url: {} } }, form, { elicitation: { form: {} } }],
    [{ elicitation: {} }, url, { elicitation: { url: {} } }],
    [{ elicitation: {} }, { method: 'roots/list' }, { roots: {} }],
    [{ elicitation: {} }, { method: 'sampling/createMessage', params: {} }, { sampling: {} }],
    [{ sampling: {} }, { method: 'sampling/createMessage', params: { tools: [] } }, { sampling: { tools: {} } }],
  ] as const) {
    const all = setUp()
    const server = call(all, all.client, 1, { capabilities })
    server.say({ id: 's', ...asked })
    t.match(all.client.last, { id: 1, error: { code: -32021, data: { code: 'MCP_ERR_CAPABILITY', requiredCapabilities: required } } })
    t.strictSame(at(all.client.last, 'error', 'data', 'requiredCapabilities'), required)
    t.strictSame([all.client.options?.status, server.closed], [400, 1])
  }
  const all = setUp()
  call(all, all.client, 1, { capabilities: { elicitation: {} } }).say({ id: 's', ...form })
  await until(() => all.client.got.length === 1)
  t.match(all.client.last, { result: { resultType: 'input_required' } }, 'elicitation alone is forms')

  const changed = await park()
  retry(changed.client, 2, changed.state, { 'roots-1': {} }, { capabilities: { elicitation: {} } })
  t.match(changed.client.last, { id: 2, error: { code: -32021 } }, 'a retry may declare less')
  t.equal(changed.server.closed, 1)
})

t.test('only some requests can be asked about, and only some things can be asked', async (t) => {
  const all = setUp({ alone: true })
  all.client.ask(1, 'tools/list', {}, { capabilities: ALL })
  all.source.last.say({ id: 's', method: 'roots/list' })
  t.match(all.source.last.last, { id: 's', error: { code: -32601 } })
  const server = call(all, all.client, 2)
  server.say({ id: 's', method: 'ping' })
  t.strictSame(server.last, { jsonrpc: '2.0', id: 's', result: {} })
  server.say({ id: 's', method: 'tasks/list' })
  t.match(server.last, { id: 's', error: { code: -32601 } })
  server.say('{"jsonrpc":"2.0","id":"s","method":"roots/list","params":null}')
  await until(() => all.client.got.length === 1)
  t.match(inputs(all.client), { 'roots-1': { params: {} } }, 'parameters that are no object are none')
})

t.test('an answer, or an end, in the midst of gathering is the last word', async (t) => {
  const all = setUp({}, { gather: 1 })
  const server = call(all, all.client, 1)
  server.say({ id: 's', method: 'roots/list' })
  server.say({ id: 1, result: {} })
  t.match(all.client.last, { id: 1, result: { resultType: 'complete' } })
  const other = call(all, all.client, 2)
  other.say({ id: 's', method: 'roots/list' })
  all.client.notify('notifications/cancelled', { requestId: 2 })
  const third = call(all, all.client, 3)
  third.say({ id: 's', method: 'roots/list' })
  await until(() => all.client.got.length === 2)
  t.match(all.client.last, { id: 3 }, 'the two that ended say no more')
})

t.test('a retry that is cancelled ends its call', async (t) => {
  const { client, server, state } = await park()
  retry(client, 2, state, { 'roots-1': {} })
  client.notify('notifications/cancelled', { requestId: 2 })
  t.equal(server.closed, 1)
  server.say({ id: 1, result: {} })
  t.equal(client.got.length, 1)
})

t.test('a server that answers at once, while it is told, is heard once', async (t) => {
  const { client, server, state } = await park()
  server.onheard = ({ kind }) => { if (kind === 'response') server.say({ id: 1, result: {} }) }
  server.say({ id: 's2', method: 'roots/list' })
  retry(client, 2, state, { 'roots-1': {} })
  t.match(client.last, { id: 2, result: { resultType: 'complete' } })
  t.strictSame([client.got.length, server.closed], [2, 1])
})

t.test('URLs that a user must visit first become a round of their own; then the call is made anew', async (t) => {
  const error = { code: -32042, message: 'visit', data: { elicitations: [{ mode: 'url', elicitationId: 'e', url: 'https://a.test/', message: 'go' }, { mode: 'url', elicitationId: 'f', url: 'https://b.test/', message: 'go' }] } }
  const all = setUp()
  const { client, source } = all
  call(all, client, 1).say({ id: 1, error })
  t.strictSame(inputs(client), {
    'elicitation-1': { method: 'elicitation/create', params: { mode: 'url', url: 'https://a.test/', message: 'go' } },
    'elicitation-2': { method: 'elicitation/create', params: { mode: 'url', url: 'https://b.test/', message: 'go' } },
  })
  t.equal(source.last.closed, 1)
  const state = stateOf(client)
  retry(client, 2, state, { 'elicitation-1': { action: 'accept' } })
  t.strictSame(Object.keys(inputs(client) as Json), ['elicitation-2'], 'what is missing is asked for again')
  retry(client, 3, stateOf(client), { 'elicitation-2': { action: 'accept' } })
  t.equal(source.servers.length, 2)
  t.strictSame(source.last.last, { jsonrpc: '2.0', id: 3, method: 'tools/call', params: CALL })
  source.last.say({ id: 3, result: {} })
  t.match(client.last, { id: 3, result: { resultType: 'complete' } })

  retry(client, 4, state, { 'elicitation-1': { action: 'accept' }, 'elicitation-2': { action: 'decline' } })
  t.match(client.last, { id: 4, error: { data: { code: 'MCP_ERR_INPUT' } } })
  retry(client, 5, state, {}, {}, { name: 'other' })
  t.match(reason(client), /another request/)
  t.equal(source.servers.length, 2)

  call(all, client, 6, { capabilities: { elicitation: {} } }).say({ id: 6, error })
  t.strictSame(at(client.last, 'error', 'data', 'requiredCapabilities'), { elicitation: { url: {} } })
})

t.test('what a server has asked at its start is answered before it hears of the call, and it gets a moment to go by it', async (t) => {
  const ready = setUp({
    open: (server) => {
      server.onjoined = () => server.say({ id: 's1', method: 'roots/list' })
      return server
    }
  })
  const server = call(ready, ready.client, 1)
  await until(() => ready.client.got.length > 0)
  t.match(inputs(ready.client), { 'roots-1': { method: 'roots/list' } })
  t.strictSame(server.heard.length, 0, 'the call waits')
  server.onheard = ({ method, rawId = '' }) => { if (method === 'ping') server.say(`{"jsonrpc":"2.0","id":${rawId},"result":{}}`) }
  retry(ready.client, 2, stateOf(ready.client), { 'roots-1': { roots: [] } })
  await until(() => server.heard.some(({ method }) => method === 'tools/call'))
  t.strictSame(server.heard.map(({ method }) => method), [undefined, 'ping', 'tools/call'])
  server.say({ id: 1, result: { ok: true } })
  t.match(ready.client.last, { id: 2, result: { ok: true } })
})

t.test('a server that takes back what it has asked at its start hears of the call at once', async (t) => {
  const ready = setUp({
    open: (server) => {
      server.onjoined = () => {
        server.say({ id: 's1', method: 'roots/list' })
        server.say({ method: 'notifications/cancelled', params: { requestId: 's1' } })
      }
      return server
    }
  })
  const server = call(ready, ready.client, 1)
  await until(() => server.heard.length > 0)
  t.strictSame(server.heard.map(({ method }) => method), ['tools/call'])
})
