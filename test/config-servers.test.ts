/* eslint no-template-curly-in-string: "off" -- the places for variables in a configuration look like that */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import t from 'tap'
import { CHILD, fixture, lean, startProxy } from './helpers/app.js'
import { isAlive, runBinary, type Running } from './helpers/binary.js'
import { openClient, type OpenOptions } from './helpers/clients.js'
import { until } from './helpers/until.js'

interface Teardown { teardown: (fn: () => unknown) => void }

const SECRET = 'key-that-is-secret'
const resolve = createRequire(import.meta.url).resolve

interface Entry { command?: string, args?: string[], env?: Record<string, string>, [name: string]: unknown }

/** An entry for a command, with tap's own loader kept away. */
function entry (command: readonly string[], more: Entry = {}): Entry {
  const [program = '', ...args] = lean(command)
  return { command: program, args, ...more }
}

const child = (...args: string[]): Entry => ({ command: CHILD[0] ?? '', args: [...CHILD.slice(1), ...args] })

class Config {
  readonly file: string
  readonly #next: string

  private constructor (directory: string) {
    this.file = join(directory, 'mcp.json')
    this.#next = join(directory, 'next.json')
  }

  static async make (t: Teardown, content: string | Record<string, Entry>): Promise<Config> {
    const directory = await mkdtemp(join(tmpdir(), 'mcp-proxy-config-'))
    t.teardown(() => rm(directory, { recursive: true, force: true }))
    const config = new Config(directory)
    await config.write(content)
    return config
  }

  /** Another file in the place of the first, as editors write it. */
  async write (content: string | Record<string, Entry>): Promise<void> {
    await writeFile(this.#next, typeof content === 'string' ? content : JSON.stringify({ mcpServers: content }))
    await rename(this.#next, this.file)
  }
}

function run (t: Teardown, { file }: Config, flags: readonly string[] = [], env: Record<string, string> = {}): Running {
  return runBinary(t, ['--port', '0', '--config', file, ...flags], { env })
}

/** Where it listens. */
async function urlOf (running: Running): Promise<string> {
  return (await running.wrote(/MCP servers[^]*?(http:\/\/[\d.]+:\d+)/))[1] ?? ''
}

async function open (t: Teardown, url: string, name: string, options: OpenOptions & { over?: 'sse' | 'stream' } = {}): ReturnType<typeof openClient> {
  const { over = 'stream' } = options
  return await openClient(t, over, url, { path: `/${name}/${over === 'sse' ? 'sse' : 'mcp'}`, ...options })
}

const status = async (url: string, path: string, init?: RequestInit): Promise<number> => (await fetch(`${url}${path}`, init)).status

t.test('each server has its paths, and serves clients of all kinds there', async (t) => {
  const config = await Config.make(t, {
    legacy: entry([process.execPath, fixture('eras-legacy.mjs')]),
    modern: entry([process.execPath, fixture('eras-modern.mjs')]),
    memory: entry([process.execPath, resolve('@modelcontextprotocol/server-memory/dist/index.js')]),
    everything: entry([process.execPath, resolve('@modelcontextprotocol/server-everything/dist/index.js')]),
  })
  const running = run(t, config)
  const url = await urlOf(running)
  for (const name of ['legacy', 'modern']) {
    for (const options of [{ sdk: 'v1' }, { sdk: 'v1', over: 'sse' }, { sdk: 'v2' }, { sdk: 'v2-pinned' }, { path: `/${name}/stream` }] as const) {
      const client = await open(t, url, name, options)
      t.equal(client.sdk.getInstructions(), 'Ask me in any era.')
      t.match(await client.sdk.readResource({ uri: 'eras://item/7' }), { contents: [{ text: 'item 7' }] })
    }
  }
  t.match(await (await open(t, url, 'memory')).sdk.listTools(), { tools: [{ name: 'create_entities' }] })
  t.equal(await (await open(t, url, 'everything', { sdk: 'v2-pinned' })).text('echo', { message: 'hi' }), 'Echo: hi')
  const printed = JSON.parse(/^\{[^]*^\}/m.exec(running.stdout())?.[0] ?? '') as unknown
  t.same(printed, { mcpServers: Object.fromEntries(['legacy', 'modern', 'memory', 'everything'].map(name => [name, { type: 'http', url: `${url}/${name}/mcp` }])) })
})

t.test('a session is of the server that it was opened with, and of no other', async (t) => {
  const url = await urlOf(run(t, await Config.make(t, { one: child('1'), two: child('2') })))
  const [one, two] = [await open(t, url, 'one'), await open(t, url, 'two')]
  t.same([await one.text('args'), await two.text('args')], ['["1"]', '["2"]'])
  const ask = async (path: string): Promise<number> => await status(url, path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-session-id': one.sessionId() ?? '' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 9, method: 'ping' }),
  })
  t.equal(await ask('/one/mcp'), 200)
  t.equal(await ask('/two/mcp'), 404)
})

t.test('flags are for all servers', async (t) => {
  const url = await urlOf(run(t, await Config.make(t, { one: child(), two: child() }), ['--user-id', 'ada', '--body-limit', '500', '--cors-origin', 'https://a.example']))
  for (const name of ['one', 'two']) {
    const path = `/${name}/mcp`
    t.equal(await status(url, path, { method: 'POST' }), 401)
    t.equal(await status(url, path, { headers: { origin: 'https://b.example' } }), 403)
    t.equal((await fetch(`${url}${path}`, { method: 'OPTIONS', headers: { origin: 'https://a.example', 'access-control-request-method': 'POST' } })).headers.get('access-control-allow-origin'), 'https://a.example')
    t.equal(await status(url, path, { method: 'POST', headers: { 'x-user-id': 'ada', 'content-type': 'application/json' }, body: JSON.stringify('x'.repeat(600)) }), 413)
    t.equal(await (await open(t, url, name, { headers: { 'x-user-id': 'ada' } })).text('echo', { text: 'hi' }), 'hi')
  }
})

t.test('there is nothing at names that are none', async (t) => {
  const url = await urlOf(run(t, await Config.make(t, { one: child(), off: { ...child(), disabled: true } }), ['--user-id', 'ada']))
  for (const path of ['/two/mcp', '/off/mcp', '/One/mcp', '/constructor/mcp']) {
    const response = await fetch(`${url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })
    t.equal(response.status, 404, path)
    t.match(await response.json(), { jsonrpc: '2.0', error: { data: { code: 'MCP_ERR_SERVER_NOT_FOUND' } } })
  }
  for (const path of ['/mcp', '/', '/one']) t.equal(await status(url, path), 404, path)
})

t.test('one that fails is reported, and the others are served; it is tried again', async (t) => {
  const config = await Config.make(t, {
    good: child(),
    unknown: { command: 'no-such-command', args: ['--key', '${KEY}'] },
    dead: { ...child(), env: { MCP_CHILD_EXIT: '7' } },
    unset: { ...child(), env: { KEY: '${env:NOT_SET}' } },
    'not a name': child(),
  })
  const running = run(t, config, ['--debug'], { KEY: SECRET })
  const url = await urlOf(running)
  const failed = /Not running:\n((?: {2}.*\n)+)/.exec(running.stdout())?.[1]?.trimEnd().split('\n') ?? []
  t.equal(failed.length, 4)
  for (const message of [/^ {2}unknown: .*could not be started/, /^ {2}dead: .*7/, /^ {2}unset: env.KEY: the variable NOT_SET is not set$/, /^ {2}not a name: .*URL/]) t.ok(failed.some(line => message.test(line)), String(message))
  t.equal(await (await open(t, url, 'good')).text('echo', { text: 'hi' }), 'hi')
  const again = await fetch(`${url}/unknown/mcp`, { method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } } }) })
  t.equal(again.status, 502)
  t.equal(await status(url, '/unset/mcp'), 404)
  t.same(running.log().filter(({ msg }) => msg === 'server does not run').map(({ mcpServer }) => mcpServer).toSorted(), ['dead', 'not a name', 'unknown', 'unset'])
  t.notMatch(running.stdout() + running.stderr(), SECRET)
})

t.test('a server elsewhere is served like the others, and its credentials stay here', async (t) => {
  const [legacy, modern] = [await startProxy(t, { command: CHILD, userId: SECRET, closeGrace: 0 }), await startProxy(t, { command: lean([process.execPath, fixture('eras-modern.mjs')]), closeGrace: 0 })]
  const config = await Config.make(t, {
    auto: { url: `${legacy.url}/stream?key=\${KEY}`, headers: { 'x-user-id': '${KEY}' } },
    sse: { type: 'sse', url: `${legacy.url}/sse`, headers: { 'x-user-id': '${KEY}' } },
    modern: { type: 'http', url: `${modern.url}/stream`, mcpProxy: { upstreamEra: 'modern' } },
    stranger: { url: `${legacy.url}/stream` },
    nobody: { url: 'http://127.0.0.1:9/' },
  })
  const running = run(t, config, ['--debug'], { KEY: SECRET })
  const url = await urlOf(running)
  t.match(running.stdout(), /Not running:\n(?: {2}stranger: .*\n {2}nobody: .*\n| {2}nobody: .*\n {2}stranger: .*\n)/)
  for (const name of ['auto', 'sse']) {
    for (const options of [{ sdk: 'v1' }, { sdk: 'v1', over: 'sse' }, { sdk: 'v2-pinned' }] as const) t.equal(await (await open(t, url, name, options)).text('echo', { text: name }), name)
  }
  for (const sdk of ['v1', 'v2-pinned'] as const) t.match(await (await open(t, url, 'modern', { sdk })).sdk.readResource({ uri: 'eras://item/7' }), { contents: [{ text: 'item 7' }] })

  await config.write({ auto: { url: `${modern.url}/stream` }, modern: child() })
  await running.wrote(/"mcpServer":"modern","msg":"server has ended"/)
  await until(async () => (await status(url, '/sse/mcp')) === 404)
  t.match(await (await open(t, url, 'auto')).sdk.readResource({ uri: 'eras://item/8' }), { contents: [{ text: 'item 8' }] })
  t.equal(await (await open(t, url, 'modern')).text('echo', { text: 'here' }), 'here')
  t.notMatch(running.stdout() + running.stderr(), SECRET)
})

t.test('variables reach the server, and no log; what is not in its entry does not reach it', async (t) => {
  const config = await Config.make(t, { one: { ...child('${TOKEN}', '${env:PLACE:-here}'), env: { KEY: '${env:TOKEN}', PLAIN: 'x' } }, two: { ...child(), mcpProxy: { environment: ['TOKEN'] } } })
  const running = run(t, config, ['--debug'], { TOKEN: SECRET })
  const url = await urlOf(running)
  const client = await open(t, url, 'one')
  t.same(JSON.parse(await client.text('args')), [SECRET, 'here'])
  const env = JSON.parse(await client.text('env')) as Record<string, string>
  t.match(env, { KEY: SECRET, PLAIN: 'x' })
  t.equal(env['TOKEN'], undefined)
  t.match(JSON.parse(await (await open(t, url, 'two')).text('env')), { TOKEN: SECRET })
  running.process.kill('SIGTERM')
  await running.ended
  t.notMatch(running.stdout() + running.stderr(), SECRET)
})

t.test('changes of the file start and end what has changed, and nothing else', async (t) => {
  const config = await Config.make(t, { stays: child(), changes: child('before'), goes: child() })
  const running = run(t, config)
  const url = await urlOf(running)
  const [stays, changes, goes] = [await open(t, url, 'stays'), await open(t, url, 'changes'), await open(t, url, 'goes')]
  const pids = await Promise.all([stays, changes, goes].map(async client => Number(await client.text('pid'))))
  const slow = stays.text('sleep', { ms: 1500 })

  await config.write({ stays: child(), changes: child('after'), comes: child() })
  await until(() => pids.map(isAlive).join() === 'true,false,false')
  await running.wrote(/"mcpServer":"comes".*server is ready/)
  t.equal(await slow, 'slept')
  t.equal(Number(await stays.text('pid')), pids[0], 'the session lives on')
  t.equal(await (await open(t, url, 'comes')).text('echo', { text: 'hi' }), 'hi')
  t.equal(await status(url, '/goes/mcp'), 404)
  await t.rejects(changes.text('pid'), { code: 404 })
  t.same(JSON.parse(await (await open(t, url, 'changes')).text('args')), ['after'])

  running.process.kill('SIGTERM')
  t.same(await running.ended, { code: 0, signal: null })
  t.notOk(isAlive(pids[0] ?? 0))
})

t.test('a broken file, or entry, is reported, and leaves all as it was', async (t) => {
  const config = await Config.make(t, { one: child(), two: child() })
  const running = run(t, config)
  const url = await urlOf(running)
  const one = await open(t, url, 'one')
  const pid = Number(await one.text('pid'))

  await config.write(`{"mcpServers":{"one":${SECRET}`)
  await running.wrote(/the configuration is not JSON/)
  t.equal(Number(await one.text('pid')), pid)
  await config.write({ one: { ...child(), cwd: '${NOT_SET}' }, two: { ...child(), mcpProxy: { isolation: 'odd' } }, three: child() })
  await running.wrote(/"mcpServer":"three".*server is ready/)
  t.match(running.log().filter(({ msg }) => msg === 'server does not run').map(({ mcpServer, err }) => [mcpServer, (err as Error).message]), [['one', /NOT_SET/], ['two', /isolation/]])
  t.equal(Number(await one.text('pid')), pid)
  t.equal(await (await open(t, url, 'two')).text('echo', { text: 'hi' }), 'hi')
  await rm(config.file)
  await running.wrote(/mcp.json cannot be read: ENOENT/)
  t.equal(Number(await one.text('pid')), pid)
  await config.write({ one: child('new') })
  await until(() => !isAlive(pid))
  t.same(JSON.parse(await (await open(t, url, 'one')).text('args')), ['new'])
  t.notMatch(running.stdout() + running.stderr(), SECRET)
})

t.test('when none of the servers runs it ends with exit code 4, and says why of each', async (t) => {
  const running = run(t, await Config.make(t, { one: { command: 'no-such-command' }, two: { command: 'x', cwd: '${NOT_SET}' } }))
  t.same(await running.ended, { code: 4, signal: null })
  t.match(running.stderr(), /^mcp-proxy: none of the servers of .*mcp.json runs\n(?: {2}one: .*started.*\n {2}two: .*NOT_SET|.*two: .*NOT_SET.*\n {2}one: .*started)/m)
  t.equal(running.stdout(), '')
})

t.test('a file that cannot be used at the start, or flags that do not fit, end it with exit code 2', async (t) => {
  const good = await Config.make(t, { one: child() })
  const cases: Array<readonly [args: readonly string[], message: RegExp]> = [
    [['--config', `${good.file}.not`], /^mcp-proxy: .*\.not cannot be read: ENOENT$/m],
    [['--config', (await Config.make(t, '{"mcpServers":')).file], /^mcp-proxy: the configuration is not JSON/m],
    [['--config', (await Config.make(t, '{"servers":{}}')).file], /^mcp-proxy: .*"mcpServers"/m],
    [['--config', good.file, '--endpoint', '/x'], /^mcp-proxy: --endpoint is for one server/m],
    [['--config', good.file, 'node', 'server.js'], /^mcp-proxy: --config .*"node" is a command/m],
    [['--config', good.file, '--host', '0.0.0.0'], /^mcp-proxy: --host 0.0.0.0 lets other machines in/m],
    [[], /^mcp-proxy: no command to serve: .*--config mcp.json/m],
  ]
  for (const [args, message] of cases) {
    const running = runBinary(t, ['--port', '0', ...args])
    t.same(await running.ended, { code: 2, signal: null }, args.join(' '))
    t.match(running.stderr(), message)
  }
})

t.test('a file without servers is waited for', async (t) => {
  const config = await Config.make(t, {})
  const running = run(t, config)
  await running.wrote(/none is configured yet/)
  const [, url = ''] = await running.wrote(/Server listening at (http:\/\/[\d.]+:\d+)/)
  await config.write({ one: child() })
  await running.wrote(/"mcpServer":"one".*server is ready/)
  t.equal(await (await open(t, url, 'one')).text('echo', { text: 'hi' }), 'hi')
})

/** A client that is asked during a call of the server `asker`: what happens before it answers, and what the call gives. */
async function askedClient (t: Teardown, transport: StreamableHTTPClientTransport | SSEClientTransport, meanwhile: () => Promise<void>): Promise<() => Promise<unknown>> {
  const client = new Client({ name: 'asked', version: '1' }, { capabilities: { elicitation: {}, sampling: {}, roots: {} } })
  t.teardown(() => client.close())
  client.setRequestHandler(ElicitRequestSchema, async () => {
    await meanwhile()
    return { action: 'accept', content: { answer: 'late' } }
  })
  client.setRequestHandler(CreateMessageRequestSchema, async () => ({ role: 'assistant', model: 'm', content: { type: 'text', text: 'later' } }))
  client.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: [{ uri: 'file:///x', name: 'x' }] }))
  await client.connect(transport as Transport)
  return async () => {
    const { content } = await client.callTool({ name: 'ask', arguments: { secret: 's' } })
    return JSON.parse((content as Array<{ text: string }>)[0]?.text ?? '')
  }
}

const ASKED = { elicited: 'late', sampled: 'later', root: 'x' }

t.test('while it stops, open calls get what their clients are asked', async (t) => {
  const running = run(t, await Config.make(t, { asker: entry([process.execPath, fixture('asker.mjs')]) }), ['--close-grace', '60000'])
  const url = await urlOf(running)
  const ask = await askedClient(t, new StreamableHTTPClientTransport(new URL(`${url}/asker/mcp`)), async () => {
    running.process.kill('SIGTERM')
    await running.wrote(/"stopping"/)
  })
  t.match(await ask(), ASKED)
  t.same(await running.ended, { code: 0, signal: null })
})

t.test('while a server that was replaced or removed ends, open calls get what their clients are asked', async (t) => {
  const asker = entry([process.execPath, fixture('asker.mjs')])
  for (const [change, replaced] of [['replaced', { asker: { ...asker, env: { OTHER: '1' } } }], ['removed', {}]] as const) {
    for (const over of ['mcp', 'sse'] as const) {
      const config = await Config.make(t, { asker })
      const running = run(t, config, ['--close-grace', '60000'])
      const place = new URL(`${await urlOf(running)}/asker/${over}`)
      const transport = over === 'sse' ? new SSEClientTransport(place) : new StreamableHTTPClientTransport(place)
      const post = async (id: string): Promise<number> => await status(place.href, '', {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-session-id': id },
        body: JSON.stringify({ jsonrpc: '2.0', id: 'new', method: 'ping' }),
      })
      const ask = await askedClient(t, transport, async () => {
        await config.write({ ...replaced, comes: child() })
        await running.wrote(/"mcpServer":"comes".*server is ready/)
        if (!(transport instanceof StreamableHTTPClientTransport)) return
        t.equal(await post(transport.sessionId ?? ''), 503, 'nothing new is begun, and the client is not made to give the session up')
        t.equal(await post('another'), 404)
      })
      t.match(await ask(), ASKED, `${change}, ${over}`)
      await running.wrote(/"mcpServer":"asker","msg":"server has ended"/)
      if (transport instanceof StreamableHTTPClientTransport) t.equal(await post(transport.sessionId ?? ''), 404)
    }
  }
})
