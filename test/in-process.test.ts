import Fastify from 'fastify'
import t from 'tap'
import { inProcess, type CreateServer, type CreateServerForRequest, type InProcessOptions } from '@mcp-proxy/endpoint'
import { Message, type ConnectContext, type Connection, type SendOptions, type Transport } from '@mcp-proxy/protocol'
import { mcpSse } from '@mcp-proxy/sse'
import { mcpStdioBridge } from '@mcp-proxy/stdio-bridge'
import { mcpStream } from '@mcp-proxy/stream'
import { CHILD, startProxy, type ProxyOptions } from './helpers/app.js'
import { OVER, SDKS, isModern, openClient } from './helpers/clients.js'
import { serverV1, serverV2, type Wishes } from './helpers/servers.js'
import { until } from './helpers/until.js'

interface Teardown { teardown: (fn: () => unknown) => void }

const JSON_AND_STREAM = 'application/json, text/event-stream'
const MAKERS: ReadonlyArray<readonly [string, (who?: string, wishes?: Wishes) => ReturnType<typeof serverV1> | ReturnType<typeof serverV2>]> = [['v1', serverV1], ['v2', serverV2]]

const serve = (t: Teardown, createServer: CreateServerForRequest, options: ProxyOptions = {}): ReturnType<typeof startProxy> =>
  startProxy(t, { command: undefined, createServer, closeGrace: 0, ...options })

/** A client of the seam, without HTTP. */
class Party {
  readonly heard: Array<{ message: Message, options: SendOptions | undefined }> = []
  closed = false
  readonly connection: Connection
  readonly #transport: Transport

  constructor (connect: ReturnType<typeof inProcess>['connect'], context: Partial<ConnectContext> = {}) {
    this.#transport = {
      send: (message, options) => { this.heard.push({ message, options }) },
      close: () => { this.closed = true },
    }
    this.connection = connect(this.#transport, { id: 'test', principal: undefined, request: undefined, log: Fastify().log, ...context })
  }

  say (json: string): void {
    this.#transport.onmessage?.(Message.parse(Buffer.from(json)) as Message)
  }

  async answerTo (rawId: string): Promise<{ message: Message, options: SendOptions | undefined }> {
    const find = (): { message: Message, options: SendOptions | undefined } | undefined => this.heard.find(({ message }) => message.kind === 'response' && message.rawId === rawId)
    await until(() => find() !== undefined)
    return find() as { message: Message, options: SendOptions | undefined }
  }
}

const INITIALIZE = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}'
const call = (id: string, name: string): string => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}","arguments":{}}}`

const join = (t: Teardown, createServer: CreateServer, options: InProcessOptions = {}): Party => {
  const { connect, close } = inProcess(createServer, options)
  t.teardown(close)
  return new Party(connect)
}

for (const [name, make] of MAKERS) {
  t.test(`a server of SDK ${name}: one for each session, made for the request that opens it`, async (t) => {
    const made: string[] = []
    const { url } = await serve(t, (request) => {
      const who = String(request.headers['x-user-id'])
      made.push(`${request.method} ${who}`)
      return make(who)
    })
    for (const over of OVER) {
      for (const sdk of SDKS) {
        made.length = 0
        const [ada, grace] = [await openClient(t, over, url, { sdk, headers: { 'x-user-id': 'ada' } }), await openClient(t, over, url, { sdk, headers: { 'x-user-id': 'grace' } })]
        t.equal(await ada.text('greet', { name: 'Ada' }), 'Hello, Ada!')
        t.equal(await grace.text('whoami'), 'grace')
        t.equal(await ada.text('whoami'), 'ada')
        if (!isModern(sdk, over)) t.strictSame(made, over === 'sse' ? ['GET ada', 'GET grace'] : ['POST ada', 'POST grace'], `${sdk} over ${over}`)
        else t.ok(made.length >= 5 && made.every(request => request.startsWith('POST ')), 'without a session each request has one')
      }
    }
  })

  t.test(`a server of SDK ${name}: clients without a session`, async (t) => {
    let open = 0
    const { app, url } = await serve(t, async () => {
      open++
      const server = make()
      const { server: inner } = server
      inner.onclose = () => { open-- }
      return server
    }, { stream: { stateless: true } })
    const post = async (body: object): Promise<{ json: () => unknown }> => await app.inject({ method: 'POST', url: '/stream', headers: { accept: JSON_AND_STREAM }, payload: body })
    const answer = await post({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'greet', arguments: { name: 'Ada' } } })
    t.match(answer.json(), { id: 7, result: { content: [{ text: 'Hello, Ada!' }] } })
    const client = await openClient(t, 'stream', url)
    t.equal(await client.text('greet', { name: 'Grace' }), 'Hello, Grace!')
    await until(() => open === 0)
    t.pass('each has ended with its request')
  })

  t.test(`a server of SDK ${name}: a call that takes too long is cancelled`, async (t) => {
    const signals: AbortSignal[] = []
    const { url } = await serve(t, () => make('', { onwait: signal => signals.push(signal) }), { requestTimeout: 50 })
    for (const sdk of SDKS) {
      const client = await openClient(t, 'stream', url, { sdk })
      await t.rejects(client.call('wait'), /No answer/, sdk)
      await until(() => signals.at(-1)?.aborted === true)
    }
    t.equal(signals.length, SDKS.length)
  })

  t.test(`a server of SDK ${name}: what a client cancels is cancelled`, async (t) => {
    const signals: AbortSignal[] = []
    const { url } = await serve(t, () => make('', { onwait: signal => signals.push(signal) }))
    for (const sdk of SDKS) {
      const client = await openClient(t, 'stream', url, { sdk })
      const stop = new AbortController()
      const called = client.call('wait', {}, { signal: stop.signal })
      const count = signals.length
      await until(() => signals.length > count)
      stop.abort()
      await t.rejects(called)
      await until(() => signals.at(-1)?.aborted === true)
    }
    t.equal(signals.length, SDKS.length)
  })
}

t.test('each call has its own time, also one after a pause', async (t) => {
  const party = join(t, () => serverV1(), { requestTimeout: 30 })
  party.say(INITIALIZE)
  await party.answerTo('0')
  party.say('{"jsonrpc":"2.0","method":"notifications/initialized"}')
  for (const id of ['1', '"1"', '2']) party.say(call(id, id === '2' ? 'whoami' : 'wait'))
  t.notOk((await party.answerTo('2')).message.failed)
  for (const id of ['1', '"1"']) t.match((await party.answerTo(id)).message.error, { data: { code: 'MCP_ERR_REQUEST_TIMEOUT' } })
  for (const id of ['3', '4']) {
    party.say(call(id, 'wait'))
    t.match((await party.answerTo(id)).message.error, { message: /30/, data: { code: 'MCP_ERR_REQUEST_TIMEOUT' } })
  }
  t.equal(party.heard.length, 6, 'each once')
})

t.test('a server knows its session, and the request that opened it', async (t) => {
  const { url } = await serve(t, () => serverV1())
  for (const over of OVER) {
    const client = await openClient(t, over, url, { headers: { 'x-user-id': 'ada' } })
    const [sessionId, user] = (await client.text('session')).split(' ')
    t.equal(user, 'ada')
    if (over === 'stream') t.equal(sessionId, client.sessionId())
    else t.match(sessionId, /^[\da-f-]{36}$/)
  }
})

t.test('a server that cannot be made gives an error, and the next request another try', async (t) => {
  let fails = true
  const { app } = await serve(t, async () => {
    if (fails) throw new Error('the password of the database is 1234')
    return serverV1()
  })
  const post = async () => await app.inject({ method: 'POST', url: '/stream', headers: { accept: JSON_AND_STREAM, 'content-type': 'application/json' }, payload: INITIALIZE })
  const answer = await post()
  t.equal(answer.statusCode, 502)
  t.match(answer.json(), { error: { code: -32000, data: { code: 'MCP_ERR_CREATE_SERVER' } } })
  t.notMatch(answer.body, /password/)
  t.equal(answer.headers['mcp-session-id'], undefined)
  fails = false
  t.equal((await post()).statusCode, 200)
})

t.test('an error with a status is for the client', async (t) => {
  const { app } = await serve(t, () => { throw Object.assign(new Error('no such tenant'), { statusCode: 404 }) })
  const answer = await app.inject({ method: 'POST', url: '/stream', headers: { accept: JSON_AND_STREAM, 'content-type': 'application/json' }, payload: INITIALIZE })
  t.equal(answer.statusCode, 404)
  t.match(answer.json(), { error: { message: 'no such tenant' } })
})

t.test('one that takes too long is given up, and ended when it comes', async (t) => {
  let come = (): void => {}
  let ended = false
  const party = join(t, async () => {
    await new Promise<void>((resolve) => { come = resolve })
    return { connect: async () => {}, close: async () => { ended = true } }
  }, { startTimeout: 20 })
  party.say(INITIALIZE)
  const { message, options } = await party.answerTo('0')
  t.match(message.toJSON(), { error: { code: Number } })
  t.ok(options?.local)
  come()
  await until(() => ended)
})

t.test('messages that come before the server is there wait in order, and not without bounds', async (t) => {
  let come = (): void => {}
  const heard: unknown[] = []
  const party = join(t, async () => {
    await new Promise<void>((resolve) => { come = resolve })
    return { connect: async (transport) => { transport.onmessage = (message: { method: string, id?: unknown }) => heard.push(message.id ?? message.method) } }
  }, { maxPendingCalls: 3 })
  party.say(INITIALIZE)
  party.say('{"jsonrpc":"2.0","method":"notifications/initialized"}')
  for (const id of [1, 2]) party.say(call(String(id), 'x'))
  party.say(call('3', 'x'))
  t.match((await party.answerTo('3')).message.toJSON(), { error: { data: { code: 'MCP_ERR_CALL_LIMIT' } } })
  const big = `{"jsonrpc":"2.0","method":"notifications/x","params":{"x":"${'x'.repeat(9 * 1024 * 1024)}"}}`
  for (let n = 0; n < 3; n++) party.say(big)
  come()
  await until(() => heard.length >= 5)
  t.strictSame(heard, [0, 'notifications/initialized', 1, 2, 'notifications/x'])
})

t.test('ids come back as they were written', async (t) => {
  const party = join(t, () => serverV1('me'))
  party.say(INITIALIZE)
  await party.answerTo('0')
  for (const [id, raw] of [['1', '1'], ['2.0', '2'], ['12345678901234567890', '12345678901234567890'], ['1.5', '1.5'], ['"1"', '"1"'], ['"ä\\u00e9"', '"äé"'], ['-3', '-3']] as const) {
    party.say(call(id, 'whoami'))
    t.match((await party.answerTo(raw)).message.toJSON(), { result: { content: [{ text: 'me' }] } }, id)
  }
  for (let n = 0; n < 2; n++) party.say(call('9', 'wait'))
  t.match((await party.answerTo('9')).message.toJSON(), { error: { data: { code: 'MCP_ERR_ID_IN_USE' } } })
})

t.test('an answer that is no JSON is an error', async (t) => {
  const { url } = await serve(t, () => ({
    connect: async (transport) => {
      const circle: Record<string, unknown> = {}
      circle['self'] = circle
      transport.onmessage = ({ id, method }: { id: number, method: string }) => {
        const result = method === 'initialize' ? { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'x', version: '1' } } : circle
        if (id !== undefined) transport.send({ jsonrpc: '2.0', id, result }).catch(() => {})
      }
      await transport.start()
    }
  }))
  const client = await openClient(t, 'stream', url)
  await t.rejects(client.sdk.listTools(), { code: -32603, message: /cannot be written as JSON/ })
})

t.test('a server that leaves ends its session; who waits is told so', async (t) => {
  const { url } = await serve(t, () => serverV1())
  const client = await openClient(t, 'stream', url)
  const waiting = client.call('wait')
  await t.rejects(Promise.all([waiting, client.call('leave')]), /has closed the connection/)
  await t.rejects(client.call('whoami'), /session|404/i)
  const pinned = await openClient(t, 'stream', url, { sdk: 'v2-pinned' })
  await t.rejects(pinned.call('leave'))
  t.equal(await pinned.text('whoami'), 'nobody', 'a client without a session gets another one')
})

t.test('servers end with their clients, and with the app', async (t) => {
  const events: string[] = []
  let n = 0
  const source = inProcess(async () => Object.assign(serverV1(), { label: n++ }), {
    onConnect: ({ label }) => { events.push(`connect ${label}`) },
    onClose: ({ label }) => { events.push(`close ${label}`) },
  })
  const [first, second] = [new Party(source.connect), new Party(source.connect)]
  for (const party of [first, second]) {
    party.say(INITIALIZE)
    await party.answerTo('0')
  }
  await first.connection.close()
  await first.connection.close()
  t.strictSame(events, ['connect 0', 'connect 1', 'close 0'])
  second.say(call('1', 'wait'))
  await source.close()
  t.match((await second.answerTo('1')).message.toJSON(), { error: { data: { code: 'MCP_ERR_STOPPED' } } })
  t.ok(second.closed)
  t.strictSame(events.slice(3), ['close 1'])
  second.say(call('2', 'whoami'))
  t.equal(n, 2, 'nothing is made any more')
})

t.test('who is told that a server was connected is told that it has ended, also when the client has not waited', async (t) => {
  const events: string[] = []
  let connected = (): void => {}
  const party = join(t, () => serverV1(), {
    onConnect: async () => {
      events.push('connect')
      await new Promise<void>((resolve) => { connected = resolve })
    },
    onClose: () => { events.push('close') },
  })
  party.say(INITIALIZE)
  await until(() => events.length === 1)
  await party.connection.close()
  connected()
  await until(() => events.length === 2)
  t.strictSame(events, ['connect', 'close'])
})

t.test('a server that has a client serves no other, and is not ended for it', async (t) => {
  const server = serverV1('only')
  const { connect, close } = inProcess(() => server)
  t.teardown(close)
  const [first, second, third] = [new Party(connect), new Party(connect), new Party(connect)]
  first.say(INITIALIZE)
  await first.answerTo('0')
  second.say(INITIALIZE)
  t.match((await second.answerTo('0')).message.toJSON(), { error: { data: { code: 'MCP_ERR_CREATE_SERVER' } } })
  first.say(call('1', 'whoami'))
  t.match((await first.answerTo('1')).message.toJSON(), { result: { content: [{ text: 'only' }] } })
  await first.connection.close()
  third.say(INITIALIZE)
  t.hasProp((await third.answerTo('0')).message.toJSON(), 'result', 'when it is free again it may')
})

t.test('an endpoint takes one of command, createServer, connect', async (t) => {
  const createServer = (): ReturnType<typeof serverV1> => serverV1()
  const connect = (): Connection => ({ close: async () => {} })
  for (const plugin of [mcpSse, mcpStream]) {
    for (const options of [{ command: CHILD, createServer }, { createServer, connect }, { command: CHILD, connect }]) {
      await t.rejects(async () => { await Fastify().register(plugin, options) }, { code: 'MCP_ERR_OPTION' })
    }
    await t.rejects(async () => { await Fastify().register(plugin, { createServer: 7 as unknown as CreateServerForRequest }) }, { code: 'MCP_ERR_OPTION' })
  }
  await t.rejects(async () => { await startProxy(t, { createServer }) }, { code: 'MCP_ERR_OPTION' }, 'as the plugin of all does')
  await t.rejects(async () => { await startProxy(t, { command: undefined }) }, { code: 'MCP_ERR_NO_SERVER' })
})

t.test('createServer of an endpoint comes before the bridge of the app', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(mcpStdioBridge, { command: CHILD })
  await app.register(mcpStream, { createServer: () => serverV1('in here'), closeGrace: 0 })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  t.equal(await (await openClient(t, 'stream', url)).text('whoami'), 'in here')
  t.strictSame(app.mcpBridge.status().children, [])
})
