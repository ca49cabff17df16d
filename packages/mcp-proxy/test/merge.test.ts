import t from 'tap'
import { Message, type ConnectContext, type FastifyBaseLogger, type SendOptions, type Transport } from '@mcp-proxy/protocol'
import { fits } from '../dist/merge/resource-owners.js'
import { mergeServers, type MergeOptions } from '../dist/merge/merge-servers.js'
import { Names } from '../dist/merge/names.js'

type Json = Record<string, unknown>

const silent = { trace () {}, debug () {}, info () {}, warn () {}, error () {}, fatal () {}, level: 'silent', silent () {}, child: () => silent } as unknown as FastifyBaseLogger
const INFO = { protocolVersion: '2025-11-25', capabilities: { sampling: {} }, clientInfo: { name: 'c', version: '1' } }

/** A server that answers by method; what it has no answer for stays open. */
class Fake {
  readonly heard: Json[] = []
  readonly answers: Map<string, (params: Json) => Json>
  context: ConnectContext | undefined
  closed = false
  #transport: Transport | undefined

  constructor (capabilities: Json, answers: Record<string, (params: Json) => Json> = {}, { protocolVersion = '2025-11-25', instructions }: { protocolVersion?: string, instructions?: string } = {}) {
    const result = { protocolVersion, capabilities, serverInfo: { name: 'fake', version: '1' }, ...(instructions !== undefined && { instructions }) }
    this.answers = new Map(Object.entries({ initialize: () => ({ result }), ...answers }))
  }

  readonly connect = (transport: Transport, context: ConnectContext): { close: () => Promise<void> } => {
    this.context = context
    this.#transport = transport
    transport.onmessage = (message) => {
      this.heard.push(JSON.parse(message.bytes.toString()) as Json)
      const answer = this.answers.get(message.method ?? '')?.(message.params ?? {})
      if (message.kind === 'request' && answer !== undefined) this.say({ id: message.id, ...answer })
    }
    return { close: async () => { this.closed = true } }
  }

  say (message: Json | string, options?: SendOptions): void {
    const text = typeof message === 'string' ? message : JSON.stringify({ jsonrpc: '2.0', ...message })
    void this.#transport?.send(Message.read(Buffer.from(text)) as Message, options)
  }

  lose (): void { void this.#transport?.close() }
  get methods (): unknown[] { return this.heard.map(({ method }) => method) }
  get last (): Json { return this.heard.at(-1) ?? {} }
}

class Client {
  readonly got: Json[] = []
  readonly texts: string[] = []
  readonly options: Array<SendOptions | undefined> = []
  closed = false
  readonly close: () => Promise<void>
  readonly #transport: Transport

  constructor (servers: Record<string, Fake>, options: MergeOptions = {}) {
    this.#transport = {
      send: (message, options) => {
        this.texts.push(message.bytes.toString())
        this.got.push(JSON.parse(message.bytes.toString()) as Json)
        this.options.push(options)
      },
      close: () => { this.closed = true },
    }
    const merged = mergeServers(new Map(Object.entries(servers).map(([name, { connect }]) => [name, connect])), options)
    const connection = merged.connect(this.#transport, { id: 'c', principal: 'ann', request: undefined, log: silent })
    this.close = async () => {
      await connection.close()
      await merged.close()
    }
  }

  say (message: Json): void {
    this.#transport.onmessage?.(Message.parse(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }))) as Message)
  }

  ask (id: number | string, method: string, params?: Json): Json {
    this.say({ id, method, ...(params !== undefined && { params }) })
    return this.answer(id)
  }

  answer (id: number | string): Json {
    return this.got.find(message => message['id'] === id && message['method'] === undefined) ?? {}
  }

  get last (): Json { return this.got.at(-1) ?? {} }
}

/** A client that has shaken hands. */
function connected (servers: Record<string, Fake>, options?: MergeOptions): Client {
  const client = new Client(servers, options)
  client.ask('init', 'initialize', INFO)
  client.say({ method: 'notifications/initialized' })
  return client
}

const until = async (holds: () => boolean): Promise<void> => { while (!holds()) await new Promise(resolve => setTimeout(resolve, 1)) }
const listing = (member: string, key: string, ...names: string[]): (() => Json) => () => ({ result: { [member]: names.map(name => ({ [key]: name })) } })
const notFound = (): Json => ({ error: { code: -32002, message: 'Resource not found' } })

t.test('names begin with that of a server, and are never two servers’', async (t) => {
  const names = new Names(['a', 'b_c'])
  t.same(names.split('a__x__y'), { server: 'a', own: 'x__y' })
  t.same(names.split('b_c__'), { server: 'b_c', own: '' })
  for (const name of ['a_x', 'b__x', 'x', '']) t.equal(names.split(name), undefined, name)
  for (const [servers, separator] of [[['a', 'a_'], '__'], [['a', 'a__b'], '__'], [['a', 'a.b'], '.'], [['a', 'a'], '__']] as const) t.throws(() => new Names(servers, separator), { code: 'MCP_ERR_OPTION' }, servers.join())
  for (const name of ['', 'a b', 'ž', 'a/b']) t.throws(() => new Names([name]), { code: 'MCP_ERR_OPTION' }, name)
  t.throws(() => new Names(['a'], ''), { code: 'MCP_ERR_OPTION' })
  t.throws(() => mergeServers(new Map()), { code: 'MCP_ERR_OPTION' })
})

t.test('the handshake says what all of them can, and says it to all of them', async (t) => {
  const one = new Fake({ tools: {}, logging: {}, experimental: { x: { a: 1 } }, tasks: { list: {} } }, {}, { protocolVersion: '2025-03-26', instructions: 'Be one.' })
  const two = new Fake({ tools: { listChanged: true }, resources: { subscribe: false }, experimental: { x: { b: 2 } } }, {}, { protocolVersion: '2025-06-18' })
  const three = new Fake({ resources: { subscribe: true } }, {}, { protocolVersion: '2024-11-05', instructions: 'Be three.' })
  const client = connected({ one, two, three })
  const { result } = client.answer('init') as { result: Json }
  t.same(result['capabilities'], { tools: { listChanged: true }, logging: {}, experimental: { x: { a: 1, b: 2 } }, resources: { subscribe: true } })
  t.equal(result['protocolVersion'], '2025-06-18')
  t.equal(result['instructions'], 'About the tools and prompts whose names begin with one__:\nBe one.\n\nAbout the tools and prompts whose names begin with three__:\nBe three.')
  for (const server of [one, two, three]) {
    t.same(server.heard[0]?.['params'], INFO)
    t.same(server.methods, ['initialize', 'notifications/initialized'])
    t.match(server.context, { era: 'legacy', principal: 'ann' })
  }
  t.match(client.ask(2, 'initialize', INFO), { error: { data: { code: 'MCP_ERR_SESSION_INITIALIZED' } } })
  await client.close()
  t.ok([one, two, three].every(({ closed }) => closed))
})

t.test('nothing is asked before the handshake', async (t) => {
  const one = new Fake({ tools: {} })
  const client = new Client({ one })
  t.match(client.ask(1, 'tools/list'), { error: { code: -32600, data: { code: 'MCP_ERR_NOT_INITIALIZED' } } })
  t.same(client.ask(2, 'ping'), { jsonrpc: '2.0', id: 2, result: {} })
  t.same(one.heard, [])
})

t.test('one that refuses, hangs or goes is left out; when nobody answers, that is the answer', async (t) => {
  const good = new Fake({ tools: {} }, { 'tools/list': listing('tools', 'name', 't') })
  const bad = new Fake({ tools: {} }, { initialize: () => ({ error: { code: -1, message: 'no' } }) })
  const gone = new Fake({})
  gone.answers.set('initialize', () => { gone.lose(); return {} })
  const hung = new Fake({})
  hung.answers.delete('initialize')
  const client = connected({ bad, good, gone, hung }, { patience: 20 })
  await until(() => client.got.length > 0)
  t.match(client.answer('init'), { result: { capabilities: { tools: {} } } })
  t.same(client.ask(1, 'tools/list')['result'], { tools: [{ name: 'good__t' }] })
  t.ok(bad.closed && gone.closed && hung.closed)
  t.same(bad.methods, ['initialize'])

  t.match(connected({ bad }).answer('init'), { error: { code: -1, message: 'no' } })
  const alone = connected({ gone })
  t.match(alone.answer('init'), { error: { data: { code: 'MCP_ERR_CHILD_HANDSHAKE' } } })
  t.ok(alone.closed)
})

t.test('a refusal that only looks like JSON leaves its server out, and no other', async (t) => {
  const good = new Fake({ tools: {} })
  const bad = new Fake({})
  bad.answers.delete('initialize')
  const client = connected({ bad, good })
  bad.say('{"jsonrpc":"2.0","id":"init","error":{oops}}')
  t.match(client.answer('init'), { result: { capabilities: { tools: {} } } })
  t.ok(bad.closed)
})

t.test('a list is of all servers that have one, in their order, with bytes as they were', async (t) => {
  const text = '{"description":"\\u00e9 name","n":12345678901234567890,"name":"echo","x":{"name":"kept"}}'
  const one = new Fake({ tools: {} })
  const two = new Fake({ tools: {} }, { 'tools/list': listing('tools', 'name', 'b') })
  const client = connected({ one, two, none: new Fake({ prompts: {} }) })
  client.say({ id: 7, method: 'tools/list', params: { _meta: { progressToken: 1, other: 2 } } })
  t.equal(client.answer(7)['result'], undefined, 'it waits for all')
  one.say(`{"jsonrpc":"2.0","result":{"tools":[ ${text} , {"name":7}]},"id":7}`)
  t.equal(client.texts.at(-1), `{"jsonrpc":"2.0","id":7,"result":{"tools":[${text.replace('"echo"', '"one__echo"')},{"name":"two__b"}]}}`)
  t.same(one.last, { jsonrpc: '2.0', id: 7, method: 'tools/list', params: { _meta: { other: 2 } } })
  t.match(client.ask(8, 'resources/list'), { error: { code: -32601 } })
})

t.test('a cursor leads to the next page of each server that has one', async (t) => {
  const pages = (...sizes: number[]) => ({ cursor }: Json): Json => {
    const page = cursor === undefined ? 0 : Number(String(cursor).slice(1))
    return { result: { tools: Array.from({ length: sizes[page] ?? 0 }, (_, n) => ({ name: `${page}.${n}` })), ...(page + 1 < sizes.length && { nextCursor: `c${page + 1}` }) } }
  }
  const one = new Fake({ tools: {} }, { 'tools/list': pages(1, 1, 1) })
  const two = new Fake({ tools: {} }, { 'tools/list': pages(2) })
  const three = new Fake({ tools: {} }, { 'tools/list': pages(1, 2) })
  const client = connected({ one, two, three })
  const seen: string[][] = []
  let cursor: unknown
  do {
    const { result } = client.ask(seen.length, 'tools/list', cursor === undefined ? {} : { cursor }) as { result: { tools: Array<{ name: string }>, nextCursor?: string } }
    seen.push(result.tools.map(({ name }) => name))
    cursor = result.nextCursor
  } while (cursor !== undefined)
  t.same(seen, [['one__0.0', 'two__0.0', 'two__0.1', 'three__0.0'], ['one__1.0', 'three__1.0', 'three__1.1'], ['one__2.0']])
  for (const bad of ['', 'x', 7, Buffer.from('[["one",7]]').toString('base64url'), Buffer.from('{}').toString('base64url')]) t.match(client.ask(`bad ${String(bad)}`, 'tools/list', { cursor: bad }), { error: { code: -32602 } })
})

t.test('a list lacks a server that fails or hangs; when all fail, so does the list', async (t) => {
  const good = new Fake({ tools: {} }, { 'tools/list': listing('tools', 'name', 't') })
  const bad = new Fake({ tools: {} }, { 'tools/list': () => ({ error: { code: -5, message: 'broken' } }) })
  const odd = new Fake({ tools: {} }, { 'tools/list': () => ({ result: { tools: 'none' } }) })
  const hung = new Fake({ tools: {} })
  t.same(connected({ bad, good, odd }).ask(1, 'tools/list')['result'], { tools: [{ name: 'good__t' }] })
  t.match(connected({ odd, bad }).ask(1, 'tools/list'), { error: { code: -5, message: 'broken' } })
  const client = connected({ good, hung }, { patience: 20 })
  client.ask(1, 'tools/list')
  await until(() => client.answer(1)['result'] !== undefined)
  t.same(client.answer(1)['result'], { tools: [{ name: 'good__t' }] })
  t.match(hung.last, { method: 'notifications/cancelled', params: { requestId: 1 } })
  hung.say({ id: 1, result: { tools: [] } })
  t.equal(client.got.filter(({ id }) => id === 1).length, 1, 'an answer that comes too late is none')
  const broken = new Fake({ tools: {} })
  const lone = connected({ broken })
  lone.ask(1, 'tools/list')
  broken.say('{"jsonrpc":"2.0","id":1,"result":{"tools":[nonsense]}}')
  t.match(lone.answer(1), { error: { code: Number } })
})

t.test('a tool or prompt is called by its own name, on its server alone', async (t) => {
  const one = new Fake({ tools: {}, prompts: {}, completions: {} }, { 'tools/call': ({ name }) => ({ result: { from: 'one', name } }) })
  const two = new Fake({ tools: {}, prompts: {} }, { 'tools/call': () => ({ error: { code: -32602, message: 'no such tool' } }), 'prompts/get': ({ name }) => ({ result: { from: 'two', name } }) })
  const client = connected({ one, two })
  t.same(client.ask(1, 'tools/call', { name: 'one__a__b', arguments: { name: 'x' } })['result'], { from: 'one', name: 'a__b' })
  t.same(one.last['params'], { name: 'a__b', arguments: { name: 'x' } })
  t.match(client.ask(2, 'tools/call', { name: 'two__x' }), { error: { code: -32602, message: 'no such tool' } })
  t.same(client.ask(3, 'prompts/get', { name: 'two__p' })['result'], { from: 'two', name: 'p' })
  for (const name of ['a', 'three__a', '', 7, undefined]) t.match(client.ask(`n${String(name)}`, 'tools/call', { name }), { error: { code: -32602, data: { code: 'MCP_ERR_PARAMS' } } })
  t.equal(one.methods.filter(method => method === 'tools/call').length, 1)
  client.ask(4, 'completion/complete', { ref: { type: 'ref/prompt', name: 'one__p' }, argument: { name: 'a', value: 'v' } })
  t.match(one.last, { id: 4, params: { ref: { type: 'ref/prompt', name: 'p' }, argument: { value: 'v' } } })
  t.match(client.ask(5, 'completion/complete', { ref: { type: 'ref/prompt', name: 'two__p' } }), { error: { code: -32602 } }, 'two completes nothing')
  for (const ref of [undefined, null, {}, { type: 'ref/other' }]) t.match(client.ask(`r${JSON.stringify(ref)}`, 'completion/complete', { ref }), { error: { code: -32602 } })
})

t.test('an answer passes with its bytes, and what came before it comes before it', async (t) => {
  const one = new Fake({ tools: {} })
  const client = connected({ one })
  client.ask('7', 'tools/call', { name: 'one__x', _meta: { progressToken: 'p' } })
  one.say({ method: 'notifications/progress', params: { progressToken: 'p', progress: 1 } }, { relatedRequestId: '"7"' })
  const answer = '{"result":{"b":1.0,"a":12345678901234567890},"id":"7","jsonrpc":"2.0"}'
  one.say(answer)
  t.equal(client.texts.at(-1), answer)
  t.match(client.got.at(-2), { method: 'notifications/progress' })
  t.same(client.options.at(-2), { relatedRequestId: '"7"' })
})

t.test('a resource is that of the server that lists it, or whose template it fits', async (t) => {
  const read = (from: string) => ({ uri }: Json): Json => ({ result: { from, uri } })
  const one = new Fake({ resources: {} }, { 'resources/list': listing('resources', 'uri', 'a:1', 'both:1'), 'resources/templates/list': listing('resourceTemplates', 'uriTemplate', 'file:///{path}.md'), 'resources/read': read('one') })
  const two = new Fake({ resources: { subscribe: true }, completions: {} }, { 'resources/list': listing('resources', 'uri', 'b:1', 'both:1'), 'resources/templates/list': listing('resourceTemplates', 'uriTemplate', 'db://{table}/{row}'), 'resources/read': read('two'), 'resources/subscribe': () => ({ result: {} }) })
  const client = connected({ one, two })
  let id = 0
  const from = (uri: string): unknown => (client.ask(++id, 'resources/read', { uri })['result'] as Json)['from']
  t.equal(from('b:1'), 'two', 'it is found without the client having listed anything')
  t.same([from('a:1'), from('both:1'), from('file:///x/y.md'), from('db://t/7')], ['one', 'one', 'one', 'two'])
  t.equal(two.methods.filter(method => method === 'resources/list').length, 1)
  t.same((client.ask(++id, 'resources/list')['result'] as Json)['resources'], [{ uri: 'a:1' }, { uri: 'both:1' }, { uri: 'b:1' }])
  t.same((client.ask(++id, 'resources/templates/list')['result'] as Json)['resourceTemplates'], [{ uriTemplate: 'file:///{path}.md' }, { uriTemplate: 'db://{table}/{row}' }])
  client.ask(++id, 'resources/subscribe', { uri: 'b:1' })
  t.match(two.last, { method: 'resources/subscribe' })
  client.ask(++id, 'completion/complete', { ref: { type: 'ref/resource', uri: 'db://{table}/{row}' }, argument: {} })
  t.match(two.last, { method: 'completion/complete' })

  one.answers.set('resources/list', listing('resources', 'uri'))
  two.answers.set('resources/list', listing('resources', 'uri', 'a:1'))
  one.say({ method: 'notifications/resources/list_changed' })
  t.match(client.last, { method: 'notifications/resources/list_changed' })
  t.equal(from('a:1'), 'two', 'after a change it is looked for again')
})

t.test('a resource that nobody lists is asked for from one after the other', async (t) => {
  const one = new Fake({ resources: {} }, { 'resources/read': notFound })
  const two = new Fake({ resources: {} }, { 'resources/list': notFound, 'resources/templates/list': notFound, 'resources/read': ({ uri }) => uri === 'x:1' ? { result: { from: 'two' } } : { error: { code: -1, message: 'not mine' } } })
  one.answers.set('resources/list', notFound).set('resources/templates/list', notFound)
  const client = connected({ one, two })
  t.same(client.ask(1, 'resources/read', { uri: 'x:1' })['result'], { from: 'two' })
  t.match(client.ask(2, 'resources/read', { uri: 'x:2' }), { error: { code: -32002 } }, 'the first error is the answer')
  const asked = one.methods.length
  client.ask(3, 'resources/read', { uri: 'x:1' })
  t.equal(one.methods.length, asked, 'whose it is was learned')
  t.match(client.ask(4, 'resources/read', {}), { error: { code: -32602 } })
  t.match(connected({ none: new Fake({ tools: {} }) }).ask(1, 'resources/read', { uri: 'x' }), { error: { code: -32601 } })
})

t.test('a URI fits a template when its fixed parts are there, in order', async (t) => {
  for (const [uri, template] of [['a:1', 'a:{x}'], ['a:/b/c/d', 'a:/{+p}/d'], ['a:', 'a:{x}'], ['a:1-2-3', 'a:{x}-{y}-{z}'], ['x', 'x'], ['q', '{all}']] as const) t.ok(fits(uri, template), template)
  for (const [uri, template] of [['b:1', 'a:{x}'], ['a:1', 'a:{x}/'], ['a:1-2', 'a:{x}-{y}-{z}'], ['xy', 'x'], ['ab', 'ab{x}b']] as const) t.notOk(fits(uri, template), template)
})

t.test('what servers ask at once gets ids and tokens that differ, and answers find back', async (t) => {
  const [one, two] = [new Fake({ tools: {} }), new Fake({ tools: {} })]
  const client = connected({ one, two })
  client.ask(5, 'tools/call', { name: 'one__x' })
  one.say({ id: 1, method: 'sampling/createMessage', params: { _meta: { progressToken: 1 }, maxTokens: 1 } }, { relatedRequestId: '5' })
  two.say({ id: 1, method: 'sampling/createMessage', params: { _meta: { progressToken: 1 }, maxTokens: 2 } })
  two.say({ id: '1', method: 'roots/list' })
  const asked = client.got.slice(-3) as Array<{ id: number, params: { _meta: { progressToken: number }, maxTokens: number } }>
  t.equal(new Set(asked.map(({ id }) => id)).size, 3)
  t.same(client.options.at(-3), { relatedRequestId: '5' })
  const [first, second, third] = asked as [typeof asked[0], typeof asked[0], typeof asked[0]]
  client.say({ method: 'notifications/progress', params: { progressToken: second.params._meta.progressToken, progress: 3 } })
  t.same(two.last, { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: 3 } })
  client.say({ id: third.id, result: { roots: [] } })
  t.same(two.last, { jsonrpc: '2.0', id: '1', result: { roots: [] } })
  client.say({ id: second.id, result: { for: 'two' } })
  t.same(two.last, { jsonrpc: '2.0', id: 1, result: { for: 'two' } })
  one.say({ method: 'notifications/cancelled', params: { requestId: 1, reason: 'late' } })
  t.same(client.last, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: first.id, reason: 'late' } })
  const heard = one.heard.length
  client.say({ id: first.id, result: {} })
  client.say({ id: 99, result: {} })
  t.equal(one.heard.length, heard, 'nobody waits for these')
})

t.test('notifications of the client reach whom they are about', async (t) => {
  const [one, two] = [new Fake({ tools: {} }), new Fake({ tools: {} })]
  const client = connected({ one, two })
  client.say({ method: 'notifications/roots/list_changed' })
  t.match([one.last, two.last], [{ method: 'notifications/roots/list_changed' }, { method: 'notifications/roots/list_changed' }])
  client.ask(1, 'tools/call', { name: 'two__x' })
  client.say({ method: 'notifications/cancelled', params: { requestId: 1 } })
  t.match(two.last, { method: 'notifications/cancelled', params: { requestId: 1 } })
  t.match(one.last, { method: 'notifications/roots/list_changed' })
  two.say({ id: 1, result: {} })
  t.same(client.answer(1), {}, 'what was cancelled is not answered')
  client.ask(2, 'tools/list')
  client.say({ method: 'notifications/cancelled', params: { requestId: 2 } })
  t.match([one.last, two.last], [{ params: { requestId: 2 } }, { params: { requestId: 2 } }])
  client.ask(1, 'tools/call', { name: 'two__x' })
  t.match(client.ask(1, 'tools/call', { name: 'two__x' }), { error: { data: { code: 'MCP_ERR_ID_IN_USE' } } })
})

t.test('a log level is for all that log; logs and changes of all come through', async (t) => {
  const logs = { 'logging/setLevel': () => ({ result: {} }) }
  const [one, two, three] = [new Fake({ logging: {} }, logs), new Fake({ tools: {} }), new Fake({ logging: {} }, { 'logging/setLevel': () => ({ error: { code: -1, message: 'no' } }) })]
  const client = connected({ one, two, three })
  t.same(client.ask(1, 'logging/setLevel', { level: 'debug' })['result'], {})
  t.match([one.last, three.last], [{ params: { level: 'debug' } }, { params: { level: 'debug' } }])
  t.notOk(two.methods.includes('logging/setLevel'))
  for (const message of [{ method: 'notifications/message', params: { level: 'info', data: 1 } }, { method: 'notifications/tools/list_changed' }, { method: 'notifications/resources/updated', params: { uri: 'x' } }, { method: 'x/unknown', params: { a: 1 } }]) {
    two.say(message)
    t.same(client.last, { jsonrpc: '2.0', ...message })
  }
  t.match(connected({ three }).ask(1, 'logging/setLevel', { level: 'debug' }), { error: { message: 'no' } })
  t.match(connected({ two }).ask(1, 'logging/setLevel', { level: 'debug' }), { error: { code: -32601 } })
})

t.test('an unknown request goes to who knows it', async (t) => {
  const unknown = (): Json => ({ error: { code: -32601, message: 'Method not found' } })
  const one = new Fake({}, { 'x/two': unknown, 'x/none': unknown })
  const two = new Fake({}, { 'x/two': () => ({ result: { from: 'two' } }), 'x/none': unknown })
  const client = connected({ one, two })
  t.same(client.ask(1, 'x/two')['result'], { from: 'two' })
  t.match(client.ask(2, 'x/none'), { error: { code: -32601 } })
})

t.test('one that goes fails its calls and takes back its questions; the others live on', async (t) => {
  const one = new Fake({ tools: { listChanged: true } }, { 'tools/list': listing('tools', 'name', 'a') })
  const two = new Fake({ tools: { listChanged: true } }, { 'tools/list': listing('tools', 'name', 'b') })
  const client = connected({ one, two })
  client.ask(1, 'tools/call', { name: 'two__x' })
  client.ask(2, 'tools/call', { name: 'one__x' })
  two.say({ id: 9, method: 'roots/list' })
  const { id } = client.last
  two.lose()
  t.match(client.answer(1), { error: { data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  t.same(client.answer(2), {})
  t.ok(client.got.some(({ method, params }) => method === 'notifications/cancelled' && (params as Json)['requestId'] === id))
  t.match(client.last, { method: 'notifications/tools/list_changed' })
  t.same(client.ask(3, 'tools/list')['result'], { tools: [{ name: 'one__a' }] })
  t.match(client.ask(4, 'tools/call', { name: 'two__b' }), { error: { code: -32602 } })
  t.notOk(client.closed)
  one.lose()
  t.ok(client.closed)
  t.match(client.answer(2), { error: { code: Number } })
})

t.test('a client that leaves cancels what it had open', async (t) => {
  const one = new Fake({ tools: {} })
  const client = connected({ one })
  client.ask(1, 'tools/call', { name: 'one__x' })
  await client.close()
  t.match(one.last, { method: 'notifications/cancelled', params: { requestId: 1 } })
  t.ok(one.closed)
})

t.test('a modern client is served from the same servers', async (t) => {
  const one = new Fake({ tools: {} }, { 'tools/call': ({ name }) => ({ result: { content: [], name } }), 'tools/list': listing('tools', 'name', 'a') })
  const client = new Client({ one })
  const modern = { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } }
  client.ask(1, 'tools/list', modern)
  await until(() => client.got.length === 1)
  t.match(client.answer(1)['result'], { tools: [{ name: 'one__a' }], resultType: 'complete' })
  client.ask(2, 'tools/call', { name: 'one__a', ...modern })
  await until(() => client.got.length === 2)
  t.match(client.answer(2)['result'], { name: 'a', resultType: 'complete' })
  await client.close()
  await until(() => one.closed)
})
