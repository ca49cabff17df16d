import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { Message } from '@mcp-proxy/protocol'
import { post } from './helpers/http.js'
import { live } from './helpers/live.js'
import { buildFake, headersOf, modern, startFake, type Fake, type ModernRequest } from './helpers/modern.js'
import { until } from './helpers/until.js'

const encode = (text: string): string => `=?base64?${Buffer.from(text).toString('base64')}?=`

async function passes (t: Test, app: FastifyInstance, request: ModernRequest | string, headers: Record<string, string>, note?: string): Promise<void> {
  t.equal((await post(app, request, headers)).statusCode, 200, note ?? JSON.stringify(headers))
}

async function mismatches (t: Test, app: FastifyInstance, request: ModernRequest | string, headers: Record<string, string>, note?: string): Promise<void> {
  const answer = await post(app, request, headers)
  t.equal(answer.statusCode, 400, note ?? JSON.stringify(headers))
  t.match(answer.json(), { id: 1, error: { code: -32020, data: { code: 'MCP_ERR_HEADER_MISMATCH' } } })
}

t.test('Mcp-Name repeats the name of a tool and a prompt, and the URI of a resource; other methods need none', async (t) => {
  const { app } = await buildFake(t)
  for (const request of [modern(1, 'tools/call', { name: 'a' }), modern(1, 'prompts/get', { name: 'a' }), modern(1, 'resources/read', { uri: 'a' })]) {
    await passes(t, app, request, headersOf(request))
    await mismatches(t, app, request, headersOf(request, { 'mcp-name': 'A' }))
    await mismatches(t, app, request, headersOf(request, { 'mcp-name': '' }))
  }
  const list = modern(1, 'prompts/list', { name: 'a' })
  await passes(t, app, list, headersOf(list, { 'mcp-name': 'whatever' }))
  const nameless = modern(1, 'tools/call')
  await passes(t, app, nameless, headersOf(nameless), 'what the body lacks is for the server to say')
  await mismatches(t, app, nameless, headersOf(nameless, { 'mcp-name': 'a' }))
})

t.test('Mcp-Name may be encoded, and has to be decodable where it is', async (t) => {
  const { app } = await buildFake(t)
  const call = (name: string): ModernRequest => modern(1, 'tools/call', { name })
  for (const name of ['a', '', 'Größe', '世界', ' padded ', 'a\nb', '=?base64?literal?=', '\uFEFFbom', '😀']) {
    const request = call(name)
    await passes(t, app, request, headersOf(request, { 'mcp-name': encode(name) }))
  }
  // a marker that is no marker is text
  for (const name of ['=?base64?YQ==', 'YQ==?=', '=?BASE64?YQ==?=', '=?Base64?YQ==?=', '=?base64?=', '=?base64']) {
    const request = call(name)
    await passes(t, app, request, headersOf(request, { 'mcp-name': name }))
  }
  const hello = call('Hello')
  for (const text of ['SGVsbG8', 'SGVs!!!bG8=', 'SGVsbG8 =', 'SGVsbG8==', 'SGVsbG9=', 'SGVs\tbG8=', '']) await mismatches(t, app, hello, headersOf(hello, { 'mcp-name': `=?base64?${text}?=` }))
  const latin = call('\u00ff')
  await mismatches(t, app, latin, headersOf(latin, { 'mcp-name': `=?base64?${Buffer.from([0xff]).toString('base64')}?=` }), 'no UTF-8')
  await mismatches(t, app, latin, headersOf(latin, { 'mcp-name': '\u00ff' }), 'characters that a header must not have, though they are the same')
  await mismatches(t, app, call('\ufffd'), headersOf(call('a'), { 'mcp-name': '=?base64?/w==?=' }), 'no replacement characters')
})

t.test('over a socket: white space around a value counts for nothing, names are of any case, repeated headers never match', async (t) => {
  const { url, fake } = await startFake(t)
  const send = async (name: string, headers: Record<string, string | string[]>): Promise<number> => {
    const { status } = await live(t, url, { method: 'POST', body: modern(1, 'tools/call', { name }), headers: { 'MCP-Protocol-Version': '2026-07-28', 'MCP-METHOD': 'tools/call', ...headers } })
    return status
  }
  t.equal(await send('a', { 'mcp-NAME': ' \t a  ' }), 200)
  t.equal(await send('a, b', { 'Mcp-Name': 'a, b' }), 200, 'a comma that is part of the name')
  const { length } = fake.calls
  t.equal(await send('a', { 'Mcp-Name': ['a', 'a'] }), 400)
  t.equal(await send('a, b', { 'Mcp-Name': ['a', 'b'] }), 400, 'two that are joined to what the body says')
  t.equal(await send('a', { 'Mcp-Name': 'a', 'MCP-METHOD': ['tools/call', 'tools/call'] }), 400)
  t.equal(await send('a', { 'Mcp-Name': 'a', 'MCP-Protocol-Version': ['2026-07-28', '2026-07-28'] }), 400)
  t.equal(fake.calls.length, length)
})

t.test('a name that stands twice in the body is one that servers may read in two ways', async (t) => {
  const { app } = await buildFake(t)
  const request = modern(1, 'tools/call', { name: 'b' })
  const twice = JSON.stringify(request).replace('"params":{', '"params":{"n\\u0061me":"a",')
  t.equal(JSON.parse(twice).params.name, 'b')
  await mismatches(t, app, twice, headersOf(request))
  await mismatches(t, app, JSON.stringify(request).replace('"params":{', '"params":{"Name":"a",'), headersOf(request), 'in another case')
})

t.test('messages of errors show what differs, shortened, and nothing that may be secret', async (t) => {
  const { app } = await buildFake(t)
  const message = async (request: ModernRequest, headers: Record<string, string>): Promise<string> => (await post(app, request, headers)).json<{ error: { message: string } }>().error.message
  const long = modern(1, 'tools/call', { name: 'x'.repeat(100) })
  t.match(await message(long, headersOf(long, { 'mcp-name': 'y'.repeat(100) })), /^Header mismatch: Mcp-Name header value "y{59}… does not match body value "x{59}…$/)
  const read = modern(1, 'resources/read', { uri: 'https://x.example?token=secret' })
  t.equal(await message(read, headersOf(read, { 'mcp-name': 'https://x.example?token=other' })), 'Header mismatch: the Mcp-Name header does not match params.uri')
})

/** A clock for one test, which goes on when the test says so. */
function clockOf (t: Test): { advance: (milliseconds: number) => void } {
  let now = Date.now()
  t.intercept(Date, 'now', { value: () => now })
  return { advance: (milliseconds) => { now += milliseconds } }
}

const TOOL = {
  name: 'sql',
  inputSchema: {
    type: 'object',
    properties: {
      region: { type: 'string', 'x-mcp-header': 'Region' },
      size: { type: 'integer', 'x-mcp-header': 'size' },
      dry: { type: 'boolean', 'x-mcp-header': 'DRY' },
      query: { type: 'string' },
      deep: { type: 'object', properties: { er: { type: 'string', 'x-mcp-header': 'Deep' } } },
    },
  },
}

const sql = (args: unknown): ModernRequest => modern(1, 'tools/call', { name: 'sql', arguments: args })

t.test('Mcp-Param-… repeats the parameters that a tool annotates', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.pages = [[TOOL]]
  const fits = async (args: unknown, headers: Record<string, string>): Promise<void> => await passes(t, app, sql(args), headersOf(sql(args), headers), JSON.stringify([args, headers]))
  const differs = async (args: unknown, headers: Record<string, string>): Promise<void> => await mismatches(t, app, sql(args), headersOf(sql(args), headers), JSON.stringify([args, headers]))

  await fits({ region: 'us', size: 42, dry: false, query: 'q', deep: { er: 'x' } }, { 'mcp-param-region': 'us', 'mcp-param-size': '42', 'mcp-param-dry': 'false', 'mcp-param-deep': 'x' })
  await fits({ region: 'Größe' }, { 'Mcp-Param-Region': encode('Größe') })
  for (const size of ['42', '42.0', '42.000', '042']) await fits({ size: 42 }, { 'mcp-param-size': size })
  await fits({ size: 1.5 }, { 'mcp-param-size': '1.5' })
  await fits({ size: -7 }, { 'mcp-param-size': '-7' })
  for (const args of [undefined, {}, null, [], 'x', { region: null, deep: null }, { deep: 'x' }]) {
    await fits(args, {})
    await differs(args, { 'mcp-param-region': 'us' })
  }
  await fits({ query: 'q' }, { 'mcp-param-query': 'other', 'mcp-param-unknown': 'x' })
  await differs({ region: 'us' }, {})
  await differs({ region: 'us' }, { 'mcp-param-region': 'US' })
  await differs({ region: 'Hello' }, { 'mcp-param-region': '=?base64?SGVsbG8?=' })
  await differs({ region: '\u00ff' }, { 'mcp-param-region': '\u00ff' })
  for (const size of ['43', '0x2a', '4.2e1', '', '42.5', 'x']) await differs({ size: 42 }, { 'mcp-param-size': size })
  await differs({ dry: true }, { 'mcp-param-dry': 'True' })
  await differs({ deep: { er: 'x' } }, {})
  await differs({ deep: { er: 'x' } }, { 'mcp-param-deep': 'y' })
  await differs({ region: { a: 1 } }, { 'mcp-param-region': '[object Object]' })
  const exact = JSON.stringify(sql({ size: 0 })).replace('"size":0', '"size":9007199254740993')
  await mismatches(t, app, exact, headersOf(sql({}), { 'mcp-param-size': '9007199254740992' }), 'numbers that JSON.parse does not tell apart')
  const twice = JSON.stringify(sql({ region: 'us' })).replace('"region"', '"region":"eu","region"')
  await mismatches(t, app, twice, headersOf(sql({}), { 'mcp-param-region': 'us' }), 'twice in the body')
  await mismatches(t, app, twice.replace('"eu","region"', '"us","Region"'), headersOf(sql({}), { 'mcp-param-region': 'us' }), 'in another case')
})

t.test('values of parameters are in no message of an error', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.pages = [[TOOL]]
  const answer = await post(app, sql({ region: 'secret-a' }), headersOf(sql({}), { 'mcp-param-region': 'secret-b' }))
  t.equal(answer.statusCode, 400)
  t.notMatch(answer.body, 'secret')
})

t.test('an annotation that is not valid makes its tool have none', async (t) => {
  const annotated = { type: 'string', 'x-mcp-header': 'A' }
  const wrong: Record<string, object> = {
    empty: { properties: { a: { type: 'string', 'x-mcp-header': '' } } },
    space: { properties: { a: { type: 'string', 'x-mcp-header': 'a b' } } },
    lines: { properties: { a: { type: 'string', 'x-mcp-header': 'a\r\nb' } } },
    noText: { properties: { a: { type: 'string', 'x-mcp-header': 7 } } },
    number: { properties: { a: { type: 'number', 'x-mcp-header': 'A' } } },
    object: { properties: { a: { type: 'object', 'x-mcp-header': 'A' } } },
    untyped: { properties: { a: { 'x-mcp-header': 'A' } } },
    several: { properties: { a: { type: ['string', 'null'], 'x-mcp-header': 'A' } } },
    twice: { properties: { a: annotated, b: { type: 'string', 'x-mcp-header': 'a' } } },
    root: { type: 'string', 'x-mcp-header': 'A' },
    items: { properties: { a: annotated, b: { items: annotated } } },
    deepItems: { properties: { a: annotated, b: { items: { properties: { c: { type: 'string', 'x-mcp-header': 'C' } } } } } },
    oneOf: { properties: { a: annotated }, oneOf: [{ properties: { c: { type: 'string', 'x-mcp-header': 'C' } } }] },
    then: { properties: { a: annotated }, then: { properties: { c: { type: 'string', 'x-mcp-header': 'C' } } } },
    defs: { properties: { a: annotated }, $defs: { c: { type: 'string', 'x-mcp-header': 'C' } } },
    additional: { properties: { a: annotated }, additionalProperties: { type: 'string', 'x-mcp-header': 'C' } },
  }
  const right: Record<string, object> = {
    plain: { properties: { a: annotated } },
    named: { properties: { a: annotated, 'x-mcp-header': { type: 'string' }, properties: { type: 'string' }, items: { type: 'string' } } },
    data: { properties: { a: { ...annotated, default: { 'x-mcp-header': 7 }, examples: [{ 'x-mcp-header': 7 }] } } },
  }
  const { app, fake } = await buildFake(t)
  fake.pages = [Object.entries({ ...wrong, ...right }).map(([name, inputSchema]) => ({ name, inputSchema }))]
  for (const name of Object.keys(wrong)) {
    const call = modern(1, 'tools/call', { name, arguments: { a: 'x' } })
    await passes(t, app, call, headersOf(call), name)
  }
  for (const name of Object.keys(right)) {
    const call = modern(1, 'tools/call', { name, arguments: { a: 'x' } })
    await mismatches(t, app, call, headersOf(call), name)
    await passes(t, app, call, headersOf(call, { 'mcp-param-a': 'x' }), name)
  }
})

t.test('a schema as deep as one likes does no harm', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.onlist = call => call.send(Message.result(String(call.request.rawId), `{"tools":[{"name":"deep","inputSchema":${'{"not":'.repeat(20_000)}{}${'}'.repeat(20_000)}},${JSON.stringify(TOOL)}]}`))
  const call = modern(1, 'tools/call', { name: 'deep' })
  await passes(t, app, call, headersOf(call))
  await mismatches(t, app, sql({ region: 'us' }), headersOf(sql({})), 'the other tools keep theirs')
})

t.test('the tools are listed at the first call, on all pages, as a modern client of the same principal; after that no call waits', async (t) => {
  const { app, fake } = await buildFake(t, { principal: request => String(request.headers['x-me']) })
  fake.pages = [[{ name: 'a' }], [{ name: 'b', inputSchema: null }], [TOOL]]
  const other = modern(1, 'tools/list')
  await passes(t, app, other, headersOf(other, { 'x-me': 'ann' }))
  t.equal(fake.lists.length, 1, 'the client\'s own')
  await passes(t, app, sql({}), headersOf(sql({}), { 'x-me': 'ann' }))
  const own = fake.lists.slice(1)
  t.equal(own.length, 3)
  for (const { context, request, closed } of own) {
    t.match(context, { era: 'modern', principal: 'ann' })
    t.match(context.request?.headers, { 'x-me': 'ann' })
    t.same(request.params?.['_meta'], { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} })
    t.equal(closed, 1)
  }
  for (let round = 0; round < 3; round++) await passes(t, app, sql({}), headersOf(sql({}), { 'x-me': 'ann' }))
  t.equal(fake.lists.length, 4)
  await mismatches(t, app, sql({ region: 'us' }), headersOf(sql({}), { 'x-me': 'bob' }), 'another principal has tools of their own')
  t.match(fake.lists.at(-1)?.context, { principal: 'bob' })
})

t.test('first calls at once wait for one list', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.onlist = () => {}
  const calls = [post(app, sql({ region: 'us' }), headersOf(sql({}))), post(app, sql({ region: 'us' }), headersOf(sql({}), { 'mcp-param-region': 'us' }))]
  await until(() => fake.lists.length > 0)
  t.equal(fake.calls.length, 0)
  fake.lists[0]?.answer({ tools: [TOOL] })
  t.strictSame((await Promise.all(calls)).map(({ statusCode }) => statusCode), [400, 200])
  t.equal(fake.lists.length, 1)
})

t.test('pages that never end are not all asked for', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.onlist = call => call.answer({ tools: [TOOL], nextCursor: 'more' })
  await mismatches(t, app, sql({ region: 'us' }), headersOf(sql({})))
  t.equal(fake.lists.length, 100)
})

t.test('a list that cannot be had judges nothing', async (t) => {
  for (const onlist of [
    (call: Fake['call']) => call.fail(-32601),
    (call: Fake['call']) => call.answer({ tools: 'none' }),
    (call: Fake['call']) => call.hangUp(),
    () => { throw new Error('cannot') },
  ]) {
    const { app, fake } = await buildFake(t)
    fake.onlist = onlist
    for (let round = 0; round < 2; round++) await passes(t, app, sql({ region: 'us' }), headersOf(sql({})))
    t.equal(fake.calls.length, 2)
  }
})

t.test('a server that asks while it lists is refused', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.onlist = (call) => {
    if (call.heard.length === 1) call.send(Message.request('9', 'roots/list', '{}'))
    call.answer({ tools: [] })
  }
  await passes(t, app, sql({}), headersOf(sql({})))
  t.match(fake.lists[0]?.heard[1]?.toJSON(), { id: 9, error: { code: -32601 } })
})

t.test('a list that is out of date refuses nothing: it is asked for again first, at most once a second', async (t) => {
  const { app, fake } = await buildFake(t)
  const clock = clockOf(t)
  fake.pages = [[TOOL]]
  const bare = headersOf(sql({}))
  await passes(t, app, sql({}), bare)
  fake.pages = [[{ ...TOOL, inputSchema: {} }]]
  await mismatches(t, app, sql({ region: 'us' }), bare, 'as known a moment ago')
  t.equal(fake.lists.length, 1)
  clock.advance(1_000)
  await passes(t, app, sql({ region: 'us' }), bare)
  t.equal(fake.lists.length, 2)
})

t.test('an old list is asked for again behind the back of a call', async (t) => {
  const clock = clockOf(t)
  const { app, fake } = await buildFake(t)
  fake.pages = [[]]
  const bare = headersOf(sql({}))
  await passes(t, app, sql({ region: 'us' }), bare)
  clock.advance(30_001)
  const lists: Array<Fake['call']> = []
  fake.onlist = call => lists.push(call)
  await passes(t, app, sql({ region: 'us' }), bare, 'which does not wait')
  await passes(t, app, sql({ region: 'us' }), bare)
  t.equal(lists.length, 1)
  lists[0]?.answer({ tools: [TOOL] })
  await until(async () => (await post(app, sql({ region: 'us' }), bare)).statusCode === 400)
})

t.test('the tools of a thousand principals are known at most', async (t) => {
  const { app, fake } = await buildFake(t, { principal: request => String(request.headers['x-me']) })
  for (let me = 0; me <= 1_000; me++) await post(app, sql({}), headersOf(sql({}), { 'x-me': String(me) }))
  t.equal(fake.lists.length, 1_001)
  await passes(t, app, sql({}), headersOf(sql({}), { 'x-me': '1000' }))
  t.equal(fake.lists.length, 1_001, 'the last is known')
  await passes(t, app, sql({}), headersOf(sql({}), { 'x-me': '0' }))
  t.equal(fake.lists.length, 1_002, 'the first is not')
})

t.test('a client that leaves while the tools are listed has called nothing', async (t) => {
  const { app, fake, url } = await startFake(t, { maxSessions: 1 })
  fake.onlist = () => {}
  const leaving = new AbortController()
  const left = fetch(url, { method: 'POST', signal: leaving.signal, headers: headersOf(sql({}), { 'content-type': 'application/json' }), body: JSON.stringify(sql({})) })
  await until(() => fake.lists.length === 1)
  leaving.abort()
  await left.catch(() => {})
  const list = modern(1, 'prompts/list')
  await until(async () => (await post(app, list, headersOf(list))).statusCode === 200)
  fake.lists[0]?.answer({ tools: [] })
  await passes(t, app, sql({}), headersOf(sql({})))
  t.strictSame(fake.calls.map(({ request }) => request.method), ['prompts/list', 'tools/call'])
})
