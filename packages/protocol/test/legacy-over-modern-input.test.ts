import t from 'tap'
import { LegacyClient, ServerEnd, exactly, isStamped, makeProxy, until, type Heard } from './helpers/modern-server.js'

const ALL = { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: {} }
const FORM = { method: 'elicitation/create', params: { mode: 'form', message: 'name?', requestedSchema: { type: 'object', properties: {} } } }
const SAMPLE = { method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } }
const ROOTS = { method: 'roots/list' }
const visit = (url: string): object => ({ method: 'elicitation/create', params: { mode: 'url', url, message: 'go' } })

const required = (inputRequests?: object, requestState?: string): object => ({ resultType: 'input_required', inputRequests, requestState })
const requests = (client: LegacyClient): Heard[] => client.heard.filter(({ json }) => json.method !== undefined && json.id !== undefined)
const reply = (client: LegacyClient, method: string, result: object): void => {
  client.say({ jsonrpc: '2.0', id: client.all(method).at(-1)?.json.id, result })
}

/** A client with a call under way. */
function calling (capabilities: object = ALL, context = {}): { client: LegacyClient, server: ServerEnd } {
  const client = makeProxy().client(context).shakeHands(capabilities)
  client.ask('c', 'tools/call', { name: 'x' })
  return { client, server: client.server }
}

t.test('what the server asks for becomes requests to the client, and their answers a retry', async (t) => {
  const client = makeProxy().client().shakeHands(ALL)
  const { server } = client
  client.say('{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"x","arguments":{"n":1.0,"big":12345678901234567890},"_meta":{"progressToken":"p"}}}')
  server.answer('tools/call', '{"resultType":"input_required","inputRequests":{"who":{"method":"elicitation/create","params":{"message":"é?","requestedSchema":{"type":"object"},"n":1.0}},"2":{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":9007199254740993}},"__proto__":{"method":"roots/list"}},"requestState":"a\\u00e9\\/\\"=="}')
  t.strictSame(client.heard.map(({ text, options }) => [text, options]), [
    ['{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"é?","requestedSchema":{"type":"object"},"n":1.0}}', { relatedRequestId: '"c"' }],
    ['{"jsonrpc":"2.0","id":2,"method":"sampling/createMessage","params":{"messages":[],"maxTokens":9007199254740993}}', { relatedRequestId: '"c"' }],
    ['{"jsonrpc":"2.0","id":3,"method":"roots/list","params":{}}', { relatedRequestId: '"c"' }],
  ], 'all at once, on the stream of the call')
  client.say('{"jsonrpc":"2.0","id":3,"result":{"roots":[]}}')
  client.say('{"jsonrpc":"2.0","id":1,"result":{"action":"accept","content":{"n":1.0}}}')
  t.equal(server.all('tools/call').length, 1, 'all answers are waited for')
  client.say('{"jsonrpc":"2.0","id":2,"result":{"n":12345678901234567890}}')
  const stamps = '"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}'
  t.equal(server.heard.at(-1)?.text, '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"x","arguments":{"n":1.0,"big":12345678901234567890},"_meta":{"progressToken":"p",' + stamps +
    '},"inputResponses":{"who":{"action":"accept","content":{"n":1.0}},"2":{"n":12345678901234567890},"__proto__":{"roots":[]}},"requestState":"a\\u00e9\\/\\"=="}}')
  server.answer('tools/call', '{"content":[],"n":1.0}')
  t.equal(client.heard.at(-1)?.text, '{"jsonrpc":"2.0","id":"c","result":{"content":[],"n":1.0}}')
  t.equal(client.answers().length, 1)
})

t.test('each round carries its own answers only, under an id of its own; progress belongs to the call in each', async (t) => {
  const { client, server } = calling()
  server.answer('tools/call', required({ a: FORM }, 's1'))
  reply(client, 'elicitation/create', { action: 'decline' })
  t.match(server.last('tools/call').json.params, { name: 'x', inputResponses: { a: { action: 'decline' } }, requestState: 's1' })
  void server.say({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: 1 } }, { relatedRequestId: String(server.id('tools/call')) })
  t.equal(client.heard.at(-1)?.options?.relatedRequestId, '"c"')
  server.answer('tools/call', required({ b: ROOTS }))
  reply(client, 'roots/list', { roots: [] })
  const { params } = server.last('tools/call').json
  t.strictSame(params?.['inputResponses'], { b: { roots: [] } })
  t.notOk(Object.hasOwn(params ?? {}, 'requestState'), 'a state that is not there any more is not sent')
  t.ok(server.all('tools/call').every(({ json }) => isStamped(json)))
  t.equal(new Set(server.all('tools/call').map(({ json }) => json.id)).size, 3)
  server.answer('tools/call', { done: true })
  t.strictSame(client.answer('c')?.result, { done: true })
})

t.test('calls of one client that ask at the same time do not meet', async (t) => {
  const client = makeProxy().client().shakeHands(ALL)
  const { server } = client
  for (const id of [1, '1']) {
    client.ask(id, 'tools/call', { name: typeof id })
    server.answer('tools/call', required({ q: FORM }, typeof id))
  }
  const [first, second] = requests(client)
  t.strictSame([first?.options?.relatedRequestId, second?.options?.relatedRequestId], ['1', '"1"'])
  client.say({ jsonrpc: '2.0', id: second?.json.id, result: { action: 'cancel' } })
  t.match(server.last('tools/call').json.params, { name: 'string', requestState: 'string', inputResponses: { q: { action: 'cancel' } } })
  client.say({ jsonrpc: '2.0', id: first?.json.id, result: { action: 'accept' } })
  t.match(server.last('tools/call').json.params, { name: 'number', requestState: 'number', inputResponses: { q: { action: 'accept' } } })
})

t.test('a call that only has to be retried is retried with its state', async (t) => {
  const { client, server } = calling()
  for (const state of ['one', 'two']) {
    server.answer('tools/call', required(undefined, state))
    const before = server.all('tools/call').length
    await until(() => server.all('tools/call').length > before)
    const { params } = server.last('tools/call').json
    t.equal(params?.['requestState'], state)
    t.notOk(Object.hasOwn(params ?? {}, 'inputResponses'))
  }
  server.answer('tools/call', {})
  t.strictSame(client.heard.map(({ json }) => json), [{ jsonrpc: '2.0', id: 'c', result: {} }])
})

t.test('a call that is cancelled while it waits to be retried is not retried', async (t) => {
  const { client, server } = calling()
  server.answer('tools/call', required(undefined, 'one'))
  client.notify('notifications/cancelled', { requestId: 'c' })
  client.ask('d', 'tools/call', { name: 'y' })
  server.answer('tools/call', required(undefined, 'two'))
  await until(() => server.all('tools/call').length === 3)
  t.equal(server.last('tools/call').json.params?.['requestState'], 'two', 'which was to come later')
  t.equal(server.all('notifications/cancelled').length, 0, 'the server has nothing to cancel')
  t.strictSame(client.heard, [])
})

t.test('ten rounds are the most', async (t) => {
  const { client, server } = calling()
  for (let round = 1; round <= 10; round++) {
    server.answer('tools/call', required({ a: FORM }))
    t.equal(requests(client).length, round)
    reply(client, 'elicitation/create', { action: 'accept' })
  }
  server.answer('tools/call', required({ a: FORM }))
  t.equal(requests(client).length, 10)
  t.match(client.answer('c'), { error: { code: -32603, data: { code: 'MCP_ERR_INPUT_ROUNDS' } } })
  t.equal(server.all('tools/call').length, 11)
})

t.test('a client is asked only what it can do', async (t) => {
  const cases: Array<[object, object, object | undefined]> = [
    [{ elicitation: {} }, FORM, undefined],
    [{ elicitation: {} }, { method: 'elicitation/create', params: { message: 'm' } }, undefined],
    [{ elicitation: { form: {} } }, FORM, undefined],
    [{ elicitation: { url: {} } }, FORM, { elicitation: { form: {} } }],
    [{ elicitation: {} }, visit('x:'), { elicitation: { url: {} } }],
    [{ elicitation: { url: {} } }, visit('x:'), undefined],
    [{}, FORM, { elicitation: { form: {} } }],
    [{ elicitation: { form: {} } }, { method: 'elicitation/create', params: { mode: 'toString' } }, { elicitation: { toString: {} } }],
    [{ sampling: {} }, SAMPLE, undefined],
    [{ sampling: null }, SAMPLE, { sampling: {} }],
    [{ elicitation: {} }, SAMPLE, { sampling: {} }],
    [{ sampling: {} }, { method: SAMPLE.method, params: { ...SAMPLE.params, tools: [] } }, { sampling: { tools: {} } }],
    [{ sampling: {} }, { method: SAMPLE.method, params: { ...SAMPLE.params, toolChoice: {} } }, { sampling: { tools: {} } }],
    [{ sampling: { tools: {} } }, { method: SAMPLE.method, params: { ...SAMPLE.params, tools: [] } }, undefined],
    [{ roots: {} }, ROOTS, undefined],
    [{ sampling: {} }, ROOTS, { roots: {} }],
  ]
  for (const [capabilities, request, missing] of cases) {
    const { client, server } = calling(capabilities)
    server.answer('tools/call', required({ a: request }))
    if (missing === undefined) t.equal(requests(client).length, 1, JSON.stringify(request))
    else t.strictSame(client.answer('c')?.error?.data, { code: 'MCP_ERR_CAPABILITY', requiredCapabilities: missing }, JSON.stringify(request))
  }
})

t.test('one capability that is missing, and nothing is asked', async (t) => {
  const { client, server } = calling({ roots: {} })
  server.answer('tools/call', required({ a: ROOTS, b: FORM, c: visit('x:'), d: SAMPLE }))
  t.strictSame(client.heard.map(({ json, options }) => [json, options?.status]), [[{
    jsonrpc: '2.0',
    id: 'c',
    error: {
      code: -32021,
      message: 'The client has to declare the capability elicitation.form, elicitation.url, sampling',
      data: { code: 'MCP_ERR_CAPABILITY', requiredCapabilities: { elicitation: { form: {}, url: {} }, sampling: {} } },
    },
  }, undefined]])
})

t.test('a client that can never answer is not asked', async (t) => {
  const { client, server } = calling(ALL, { answers: false })
  server.answer('tools/call', required({ a: ROOTS }))
  exactly(t, client.heard.map(({ json }) => json), [{ id: 'c', error: { data: { requiredCapabilities: { roots: {} } } } }])
  client.ask('d', 'tools/call', { name: 'x' })
  server.answer('tools/call', required(undefined, 's'))
  await until(() => server.all('tools/call').length === 3)
  server.answer('tools/call', { done: true })
  t.strictSame(client.answer('d')?.result, { done: true }, 'but what needs no answer is retried')
})

t.test('what cannot be made out ends the call', async (t) => {
  const result = (rest: string): string => `{"resultType":"input_required",${rest}}`
  for (const text of [
    result('"x":1'), result('"inputRequests":{}'), result('"inputRequests":7'), result('"requestState":7'), result('"inputRequests":{"a":7}'),
    result('"inputRequests":{"a":{"method":"tools/call","params":{}}}'), result('"inputRequests":{"a":{"method":"roots/list","params":[]}}'),
    result('"inputRequests":{"a":{nonsense}}'), result(`"inputRequests":{${Array.from({ length: 101 }, (_, n) => `"${n}":{"method":"roots/list"}`).join(',')}}`),
  ]) {
    const { client, server } = calling()
    server.answer('tools/call', text)
    exactly(t, client.heard.map(({ json }) => json), [{ id: 'c', error: { code: -32603, data: { code: 'MCP_ERR_INPUT' } } }], text.slice(0, 80))
    client.ask('c', 'tools/call', {})
    t.equal(server.all('tools/call').length, 2, 'the id is free again')
  }
})

t.test('results that only speak of it are results', async (t) => {
  for (const result of ['{"resultType":"complete","text":"input_required"}', '{"content":[{"resultType":"input_required"}]}', '{"a":"input_required","resultType":"vendor"}']) {
    const { client, server } = calling()
    server.answer('tools/call', result)
    t.equal(client.heard.at(-1)?.text, `{"jsonrpc":"2.0","id":"c","result":${result}}`)
  }
  const { client, server } = calling()
  server.fail('tools/call', { code: 1, message: 'm', data: { resultType: 'input_required', x: '"input_required"' } })
  t.match(client.answer('c'), { error: { code: 1 } })
})

t.test('an error of the client ends the call and withdraws what else was asked', async (t) => {
  const { client, server } = calling()
  server.answer('tools/call', required({ a: FORM, b: SAMPLE, c: ROOTS }))
  const [form, sample, roots] = requests(client).map(({ json }) => json.id)
  client.say({ jsonrpc: '2.0', id: roots, result: { roots: [] } })
  client.heard.length = 0
  client.say({ jsonrpc: '2.0', id: sample, error: { code: -1, message: 'the user said %s no' } })
  exactly(t, client.heard.map(({ json, options }) => [json, options]), [
    [{ method: 'notifications/cancelled', params: { requestId: form } }, { relatedRequestId: '"c"' }],
    [{ id: 'c', error: { code: -32603, message: 'The client has not given the input that tools/call asks for: the user said %s no', data: { code: 'MCP_ERR_INPUT' } } }, { local: true }],
  ])
  client.say({ jsonrpc: '2.0', id: form, result: {} })
  t.equal(client.heard.length, 2, 'an answer that comes too late is dropped')
  t.equal(server.all('tools/call').length, 1)
})

t.test('the first answer to a question counts', async (t) => {
  const { client, server } = calling()
  server.answer('tools/call', required({ a: FORM, b: ROOTS }))
  const [form, roots] = requests(client).map(({ json }) => json.id)
  for (const n of [1, 2]) client.say({ jsonrpc: '2.0', id: form, result: { n } })
  t.equal(server.all('tools/call').length, 1)
  client.say({ jsonrpc: '2.0', id: String(roots), result: { n: 3 } })
  client.say({ jsonrpc: '2.0', id: roots, result: { n: 4 } })
  t.strictSame(server.last('tools/call').json.params?.['inputResponses'], { a: { n: 1 }, b: { n: 4 } })
})

t.test('a client that answered in time is not late afterwards', async (t) => {
  const client = makeProxy({ inputTimeout: 5 }).client().shakeHands(ALL)
  for (const id of ['first', 'second']) {
    client.ask(id, 'tools/call', { name: 'x' })
    client.server.answer('tools/call', required({ a: FORM }))
    if (id === 'first') reply(client, 'elicitation/create', { action: 'accept' })
  }
  await until(() => client.answer('second') !== undefined)
  t.equal(client.answer('first'), undefined)
})

t.test('a client that takes too long ends the call', async (t) => {
  const client = makeProxy({ inputTimeout: 5 }).client().shakeHands(ALL)
  client.ask('c', 'tools/call', { name: 'x' })
  client.server.answer('tools/call', required({ a: FORM }))
  await until(() => client.answer('c') !== undefined)
  exactly(t, client.heard.map(({ json }) => json), [{ method: 'elicitation/create' }, { method: 'notifications/cancelled' }, { id: 'c', error: { data: { code: 'MCP_ERR_INPUT' } } }])
})

t.test('a call that is cancelled while the client is asked withdraws what it asks', async (t) => {
  const { client, server } = calling()
  server.answer('tools/call', required({ a: FORM, b: ROOTS }))
  const ids = requests(client).map(({ json }) => json.id)
  client.heard.length = 0
  client.notify('notifications/cancelled', { requestId: 'c', reason: 'enough' })
  exactly(t, client.heard.map(({ json }) => json), ids.map(requestId => ({ method: 'notifications/cancelled', params: { requestId } })))
  for (const id of ids) client.say({ jsonrpc: '2.0', id, result: {} })
  t.equal(client.heard.length, 2)
  t.equal(server.all('tools/call').length, 1)
})

t.test('calls that wait for the client are counted, and end with the server', async (t) => {
  const client = makeProxy({ maxCalls: 1 }).client().shakeHands(ALL)
  client.ask('c', 'tools/call', { name: 'x' })
  client.server.answer('tools/call', required({ a: FORM }))
  client.ask('d', 'tools/call', { name: 'x' })
  t.match(client.answer('d'), { error: { data: { code: 'MCP_ERR_CALL_LIMIT' } } })
  void client.server.transport.close()
  t.match(client.answer('c'), { error: { data: { code: 'MCP_ERR_STOPPED' } } })
  t.equal(client.all('notifications/cancelled').length, 1)
})

t.test('a URL elicitation gets an id, and is complete when it is not asked for any more', async (t) => {
  const { client, server } = calling()
  server.answer('tools/call', required({ a: visit('https://one'), b: visit('https://two') }, 's'))
  const [one, two] = requests(client).map(({ json }) => json.params?.['elicitationId'])
  t.match(one, /^[0-9a-f-]{36}$/)
  t.not(one, two)
  t.equal(client.heard[0]?.text, `{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"mode":"url","url":"https://one","message":"go","elicitationId":${JSON.stringify(one)}}}`)
  for (const { json: { id } } of requests(client)) client.say({ jsonrpc: '2.0', id, result: { action: 'accept' } })
  client.heard.length = 0
  server.answer('tools/call', required({ a: visit('https://one'), c: FORM }, 's'))
  exactly(t, client.heard.map(({ json, options }) => [json.method, json.params?.['elicitationId'], options?.relatedRequestId]), [
    ['notifications/elicitation/complete', two, '"c"'],
    ['elicitation/create', one, '"c"'],
    ['elicitation/create', undefined, '"c"'],
  ])
  for (const { json: { id } } of requests(client)) client.say({ jsonrpc: '2.0', id, result: { action: 'accept' } })
  client.heard.length = 0
  server.answer('tools/call', { done: true })
  exactly(t, client.heard.map(({ json }) => json), [{ method: 'notifications/elicitation/complete', params: { elicitationId: one } }, { id: 'c', result: { done: true } }])
})

t.test('what the user has not agreed to, or what has failed, is not complete', async (t) => {
  for (const [action, end] of [['decline', 'answer'], ['cancel', 'answer'], ['accept', 'fail']] as const) {
    const { client, server } = calling()
    server.answer('tools/call', required({ a: visit('x:') }))
    reply(client, 'elicitation/create', { action })
    server[end]('tools/call', { code: 1, message: 'm' })
    t.equal(client.all('notifications/elicitation/complete').length, 0, action)
    t.equal(client.answers().length, 1)
  }
})

t.test('a client and a server in one process, which answer at once', async (t) => {
  const client = makeProxy().client().shakeHands(ALL)
  const { server } = client
  server.onheard = ({ json }) => {
    if (json.method !== 'tools/call') return
    void server.say({ jsonrpc: '2.0', id: json.id, result: json.params?.['requestState'] === '3' ? { done: true } : required({ a: FORM, b: ROOTS }, String(Number(json.params?.['requestState'] ?? 0) + 1)) })
  }
  client.onheard = ({ json }) => { if (json.method !== undefined && json.id !== undefined) client.say({ jsonrpc: '2.0', id: json.id, result: { roots: [] } }) }
  client.ask(1, 'tools/call', { name: 'x' })
  t.strictSame(client.answer(1)?.result, { done: true })
  t.equal(requests(client).length, 6)
  client.onheard = ({ json }) => { if (json.method !== undefined && json.id !== undefined) client.say({ jsonrpc: '2.0', id: json.id, error: { code: 1, message: 'no' } }) }
  client.heard.length = 0
  client.ask(2, 'tools/call', { name: 'x' })
  exactly(t, client.heard.map(({ json }) => json), [{ method: 'elicitation/create' }, { id: 2, error: { data: { code: 'MCP_ERR_INPUT' } } }], 'after an error nothing more is asked')
})
