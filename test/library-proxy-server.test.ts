import { Client as ClientV2 } from '@modelcontextprotocol/client'
import { StdioClientTransport as StdioV2 } from '@modelcontextprotocol/client/stdio'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { ResultSchema } from '@modelcontextprotocol/sdk/types.js'
import { Server as ServerV2 } from '@modelcontextprotocol/server'
import t from 'tap'
import { createHeaderAuth, proxyServer, startHTTPStreamServer, startSSEServer, type InProcessServer, type ProxyServerOptions } from 'mcp-proxy'
import { fixture, lean } from './helpers/app.js'
import { OVER, SDKS, isModern, openClient, openStdio, type Answers, type Declared, type OpenClient, type Over } from './helpers/clients.js'
import { everything, inBothEras, steady, tool, type Exchanged, type Step } from './helpers/published.js'
import { until } from './helpers/until.js'

interface Teardown { teardown: (fn: () => unknown) => void }

t.setTimeout(90_000)

const INFO = { name: 'test-client', version: '1.0.0' }
const CAPABILITIES = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } }

/** Makes a proxy for each session, of objects of SDK v1 or v2; all of them share one client of one child. */
async function makeShared (t: Teardown, { command, env = {} }: { command: readonly string[], env?: Record<string, string> }, sdk: 'v1' | 'v2'): Promise<() => Promise<InProcessServer>> {
  const [program = '', ...args] = command
  const child = { command: program, args, env, stderr: 'ignore' } as const
  if (sdk === 'v1') {
    const client = new Client(INFO)
    await client.connect(new StdioClientTransport(child))
    t.teardown(() => client.close())
    return async () => {
      const server = new Server(client.getServerVersion() ?? INFO, { capabilities: client.getServerCapabilities() ?? {}, instructions: client.getInstructions() ?? '' })
      await proxyServer({ server, client })
      return server
    }
  }
  const client = new ClientV2(INFO)
  await client.connect(new StdioV2(child))
  t.teardown(() => client.close())
  return async () => {
    const server = new ServerV2(client.getServerVersion() ?? INFO, { capabilities: client.getServerCapabilities() ?? {}, instructions: client.getInstructions() ?? '' })
    await proxyServer({ server, client })
    return server
  }
}

/** Makes a proxy with a child of its own for each session. */
function makeProxy ({ command, env = {} }: { command: readonly string[], env?: Record<string, string> }, sdk: 'v1' | 'v2', capabilities: Declared = {}): () => Promise<InProcessServer> {
  const [program = '', ...args] = command
  const child = { command: program, args, env, stderr: 'ignore' } as const
  return async () => {
    if (sdk === 'v1') {
      const client = new Client(INFO, { capabilities })
      await client.connect(new StdioClientTransport(child))
      const server = new Server(client.getServerVersion() ?? INFO, { capabilities: client.getServerCapabilities() ?? {}, instructions: client.getInstructions() ?? '' })
      server.onclose = () => { void client.close() }
      await proxyServer({ server, client })
      return server
    }
    const client = new ClientV2(INFO, { capabilities })
    await client.connect(new StdioV2(child))
    const server = new ServerV2(client.getServerVersion() ?? INFO, { capabilities: client.getServerCapabilities() ?? {}, instructions: client.getInstructions() ?? '' })
    server.onclose = () => { void client.close() }
    await proxyServer({ server, client })
    return server
  }
}

async function serve (t: Teardown, over: Over, createServer: () => Promise<InProcessServer>): Promise<string> {
  const start = over === 'sse' ? startSSEServer : startHTTPStreamServer
  const { close, url } = await start({ port: 0, createServer, closeGrace: 0 })
  t.teardown(close)
  return new URL('/', url).href
}

for (const written of ['v1', 'v2'] as const) {
  t.test(`server-everything answers through objects of SDK ${written} as it does over stdio`, async (t) => {
    const { command, env, steps } = everything()
    const play = async (client: OpenClient): Promise<Exchanged[]> => {
      const transcript: Exchanged[] = []
      for (const [method, run] of steps) {
        await run(client).catch(() => {})
        // the SDK's client keeps what it was told of the server in an order of its own
        transcript.push([method, method === 'initialize' ? sorted(client.wire.answerTo(method)) : steady(client.wire.answerTo(method))])
      }
      transcript.push(['progress', client.wire.notified('notifications/progress').map(({ params }) => ({ ...params, progressToken: 'the client has chosen it' }))])
      await client.sdk.close()
      return transcript
    }
    const direct = await play(await openStdio(t, { command, env }))
    for (const over of OVER) {
      const url = await serve(t, over, await makeShared(t, { command, env }, written))
      for (const sdk of SDKS) {
        const proxied = await play(await openClient(t, over, url, { sdk }))
        if (isModern(sdk, over)) t.strictSame(inBothEras(proxied), inBothEras(direct), `${sdk} over ${over}, in the other era`)
        else t.strictSame(proxied, direct, `${sdk} over ${over}`)
      }
    }
  })

  t.test(`server-everything asks its clients through objects of SDK ${written}`, async (t) => {
    const { command, env } = everything()
    const steps: readonly Step[] = [
      tool('get-roots-list'),
      tool('trigger-sampling-request', { prompt: 'hello 日本', maxTokens: 9 }),
      tool('trigger-elicitation-request'),
      tool('trigger-url-elicitation', { url: 'https://example.com/x', elicitationId: 'chosen' }),
    ]
    const answers: Answers = {
      sample: params => JSON.stringify(params),
      elicit: ({ message }) => message.includes('link') ? {} : { name: 'Ada', integer: 7 },
      roots: () => [{ uri: 'file:///tmp/one', name: 'one' }],
    }
    const play = async (client: OpenClient): Promise<unknown[]> => {
      const transcript: unknown[] = []
      for (const [method, run] of steps) {
        await run(client).catch(() => {})
        transcript.push(steady(client.wire.answerTo(method)))
      }
      await client.sdk.close()
      return transcript
    }
    const direct = await play(await openStdio(t, { command, env, capabilities: CAPABILITIES, answers }))
    t.match(JSON.stringify(direct), /file:\/\/\/tmp\/one/)
    for (const over of OVER) {
      const url = await serve(t, over, makeProxy({ command, env }, written, CAPABILITIES))
      for (const sdk of SDKS) {
        const client = await openClient(t, over, url, { sdk, capabilities: CAPABILITIES, answers })
        if (isModern(sdk, over)) {
          t.match(await client.text('trigger-sampling-request', { prompt: 'hello', maxTokens: 9 }), /hello/, `${sdk} over ${over}, in the other era`)
          t.match(await client.text('trigger-elicitation-request'), /Ada|accept|provided/i)
        } else t.strictSame(await play(client), direct, `${sdk} over ${over}`)
      }
    }
  })

  t.test(`what happens during calls crosses objects of SDK ${written}`, async (t) => {
    const url = await serve(t, 'stream', makeProxy({ command: lean([process.execPath, fixture('eras-legacy.mjs')]) }, written))
    const client = await openClient(t, 'stream', url)
    const progress: number[] = []
    await client.call('progress', { count: 3 }, { onprogress: ({ progress: n }) => progress.push(n) })
    t.strictSame(progress, [1, 2, 3], 'progress')
    await client.sdk.setLoggingLevel('info')
    await client.call('logs', { label: 'x' })
    await client.wire.until(({ method, params }) => method === 'notifications/message' && params?.['data'] === 'x error')
    t.strictSame(client.wire.notified('notifications/message').map(({ params }) => params?.['data']), ['x info', 'x error'], 'logs of the level')
    await client.call('change', { list: 'tools' })
    await client.wire.until(({ method }) => method === 'notifications/tools/list_changed')
    await client.sdk.subscribeResource({ uri: 'eras://text' })
    await client.call('update', { uri: 'eras://text' })
    await client.wire.until(({ method }) => method === 'notifications/resources/updated')
    const stop = new AbortController()
    const waiting = client.call('wait', { label: 'l' }, { signal: stop.signal })
    await until(async () => await client.text('waiting', { label: 'l' }) === 'open')
    stop.abort()
    await t.rejects(waiting)
    await until(async () => await client.text('waiting', { label: 'l' }) === 'cancelled')
    const { resources, nextCursor } = await client.sdk.listResources() as { resources: unknown[], nextCursor: string }
    t.equal(resources.length, 1)
    t.match(await client.sdk.listResources({ cursor: nextCursor }), { resources: [{ uri: 'eras://blob' }] }, 'pages')
  })
}

function sorted (value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort().map(([name, member]) => [name, sorted(member)]))
}

/** A client and a server of SDK v1 with a proxy between them. The server is bare: the test says what it answers. */
async function between (t: Teardown, options: Partial<ProxyServerOptions<{ headers: Record<string, string> }>> = {}): Promise<{ client: Client, upstream: Server, proxied: Client, connect: () => Promise<Client> }> {
  const upstream = new Server({ name: 'upstream', version: '1' }, { capabilities: { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} } })
  const proxied = new Client(INFO, { capabilities: CAPABILITIES })
  const [a, b] = InMemoryTransport.createLinkedPair()
  await Promise.all([upstream.connect(a), proxied.connect(b)])
  t.teardown(() => proxied.close())
  const connect = async (): Promise<Client> => {
    const server = new Server({ name: 'proxy', version: '1' }, { capabilities: proxied.getServerCapabilities() ?? {} })
    await proxyServer({ ...options, server, client: proxied })
    const client = new Client(INFO, { capabilities: CAPABILITIES })
    const [c, d] = InMemoryTransport.createLinkedPair()
    await Promise.all([server.connect(c), client.connect(d)])
    t.teardown(() => client.close())
    return client
  }
  return { client: await connect(), upstream, proxied, connect }
}

const any = (client: Client, method: string, params: Record<string, unknown> = {}): Promise<unknown> => client.request({ method, params } as never, ResultSchema)

t.test('methods and notifications that nobody knows cross in both directions, and results are not looked into', async (t) => {
  const { client, upstream } = await between(t)
  upstream.fallbackRequestHandler = async ({ method, params }) => ({ method, params, content: 'not what a schema allows' })
  client.fallbackRequestHandler = async ({ method, params }) => ({ method, params })
  t.match(await any(client, 'x/unheard-of', { n: 1 }), { method: 'x/unheard-of', params: { n: 1 }, content: 'not what a schema allows' })
  t.match(await any(client, 'tools/call', { odd: true }), { method: 'tools/call', params: { odd: true } })
  t.match(await upstream.request({ method: 'y/unheard-of', params: { n: 2 } } as never, ResultSchema), { method: 'y/unheard-of', params: { n: 2 } })
  const heard: unknown[] = []
  client.fallbackNotificationHandler = async notification => { heard.push(notification) }
  upstream.fallbackNotificationHandler = async notification => { heard.push(notification) }
  await upstream.notification({ method: 'notifications/x', params: { a: 1 } } as never)
  await client.notification({ method: 'notifications/y', params: { b: 2 } } as never)
  await client.sendRootsListChanged()
  await until(() => heard.length === 3)
  t.match(heard, [{ method: 'notifications/x', params: { a: 1 } }, { method: 'notifications/y', params: { b: 2 } }, { method: 'notifications/roots/list_changed' }])
})

t.test('errors keep code, message and data, in both directions', async (t) => {
  const { client, upstream } = await between(t)
  const fail = async (): Promise<never> => { throw Object.assign(new Error('as asked'), { code: -32099, data: { why: 'x' } }) }
  upstream.fallbackRequestHandler = fail
  client.fallbackRequestHandler = fail
  const expected = { code: -32099, message: 'MCP error -32099: as asked', data: { why: 'x' } }
  await t.rejects(any(client, 'tools/list'), expected)
  await t.rejects(upstream.listRoots(), expected)
  await t.rejects(any((await between(t)).client, 'prompts/get'), { code: -32601 })
})

t.test('requests end with their time, and with the server', async (t) => {
  const { client, upstream, proxied } = await between(t, { requestTimeout: 20 })
  const signals: AbortSignal[] = []
  upstream.fallbackRequestHandler = async (_request, { signal }) => await new Promise(() => { signals.push(signal) })
  await t.rejects(any(client, 'tools/list'), { code: -32001 })
  await until(() => signals[0]?.aborted === true)
  const lasting = await between(t)
  lasting.upstream.fallbackRequestHandler = async () => await new Promise(() => {})
  const waiting = any(lasting.client, 'x')
  await lasting.upstream.close()
  await t.rejects(waiting, { code: -32000 })
  await t.rejects(any(lasting.client, 'x'), { code: -32000 })
  t.ok(proxied.transport)
  await t.rejects(between(t, { requestTimeout: -1 }), { code: 'MCP_ERR_OPTION' })
})

t.test('tools are for those who are authenticated', async (t) => {
  const answer = async ({ method }: { method: string }): Promise<object> => ({ method })
  const authenticate = createHeaderAuth('user123')
  const refused = { code: -32000, message: /not authenticated/, data: { code: 'MCP_ERR_CREDENTIALS' } }
  for (const options of [
    { authenticate },
    { authenticate, request: { headers: {} } },
    { authenticate, request: { headers: { 'x-user-id': 'user12' } } },
    { authenticate: () => false, request: { headers: {} } },
    { authenticate: async () => undefined, request: { headers: {} } },
    { authenticate: () => { throw new Error('secret') }, request: { headers: {} } },
    { authenticate: async () => await Promise.reject(new Error('secret')), request: { headers: {} } },
  ]) {
    const { client, upstream } = await between(t, options)
    const asked: string[] = []
    upstream.fallbackRequestHandler = async ({ method }) => { asked.push(method); return { method } }
    for (const method of ['tools/list', 'tools/call', 'tools/unheard-of']) await t.rejects(any(client, method), refused)
    t.match(await any(client, 'resources/list'), { method: 'resources/list' }, 'the rest is for all')
    t.strictSame(asked, ['resources/list'])
  }
  let allowed: object | boolean | string = true
  for (const options of [{ authenticate, request: { headers: { 'x-user-id': 'user123' } } }, { authenticate: async () => allowed, request: { headers: {} } }]) {
    const { client, upstream } = await between(t, options)
    upstream.fallbackRequestHandler = answer
    for (allowed of [true, 'ada', { userId: 'ada' }, {}]) t.match(await any(client, 'tools/call'), { method: 'tools/call' })
    if (options.authenticate === authenticate) continue
    allowed = false
    await t.rejects(any(client, 'tools/call'), refused, 'it is asked each time')
  }
})

t.test('only the families of requests pass that are given as capabilities', async (t) => {
  for (const options of [{ capabilities: { tools: {} } }, { serverCapabilities: { tools: {} } }]) {
    const { client, upstream } = await between(t, options)
    upstream.fallbackRequestHandler = async ({ method }) => ({ method })
    t.match(await any(client, 'tools/list'), { method: 'tools/list' })
    t.match(await any(client, 'x/y'), { method: 'x/y' })
    for (const method of ['resources/list', 'prompts/get', 'completion/complete', 'logging/setLevel', 'tasks/list']) await t.rejects(any(client, method), { code: -32601 }, method)
  }
})

t.test('several servers in front of one client: what is not for all goes to whom it belongs', async (t) => {
  const { client: ada, upstream, connect } = await between(t)
  const grace = await connect()
  const asked: Array<[string, unknown]> = []
  upstream.removeRequestHandler('logging/setLevel')
  upstream.fallbackRequestHandler = async ({ method, params }) => { asked.push([method, params?.['uri'] ?? params?.['level']]); return {} }
  const heard = new Map<string, string[]>([['ada', []], ['grace', []]])
  for (const [name, client] of [['ada', ada], ['grace', grace]] as const) {
    client.fallbackNotificationHandler = async ({ method, params }) => { heard.get(name)?.push(`${method.slice(14)} ${String(params?.['uri'] ?? '')}`.trim()) }
    client.fallbackRequestHandler = async () => ({ roots: [] })
  }
  await ada.subscribeResource({ uri: 'a' })
  await ada.subscribeResource({ uri: 'b' })
  await grace.subscribeResource({ uri: 'b' })
  await ada.setLoggingLevel('debug')
  await grace.setLoggingLevel('error')
  t.strictSame(asked.filter(([method]) => method === 'logging/setLevel'), [['logging/setLevel', 'debug'], ['logging/setLevel', 'debug']], 'the level that shows most')
  await upstream.sendResourceUpdated({ uri: 'a' })
  await upstream.sendResourceUpdated({ uri: 'b' })
  await upstream.sendLoggingMessage({ level: 'error', data: 'of whom?' })
  await upstream.sendToolListChanged()
  await until(() => [...heard.values()].every(all => all.includes('tools/list_changed')))
  t.strictSame([...heard], [['ada', ['resources/updated a', 'resources/updated b', 'tools/list_changed']], ['grace', ['resources/updated b', 'tools/list_changed']]])
  await t.rejects(upstream.listRoots(), { code: -32601, message: /several clients/ })
  await ada.unsubscribeResource({ uri: 'b' })
  t.notMatch(asked, [['resources/unsubscribe', 'b']], 'somebody else still wants it')
  await ada.close()
  await until(() => asked.some(([method, uri]) => method === 'resources/unsubscribe' && uri === 'a'))
  t.notOk(asked.some(([method, uri]) => method === 'resources/unsubscribe' && uri === 'b'))
  t.same(await upstream.listRoots(), { roots: [] }, 'the one that is left can be asked')
})
