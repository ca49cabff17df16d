import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { isAlive, runBinary, runNode, type Running } from './helpers/binary.js'
import { OVER, SDKS, openClient, openStdio } from './helpers/clients.js'

interface Teardown { teardown: (fn: () => unknown) => void }

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PLUGINS = join(ROOT, 'examples/plugins')
const LIBRARY = join(ROOT, 'examples/library')

async function start (t: Teardown, file: string): Promise<{ running: Running, url: string }> {
  const running = runNode(t, [file], { cwd: PLUGINS, env: { PORT: '0' } })
  return { running, url: (await running.wrote(/listening on (http:\S+)/))[1] ?? '' }
}

t.test('plugin: an endpoint in an API with routes of its own', async (t) => {
  const { running, url } = await start(t, 'plugin.js')
  t.same(await (await fetch(`${url}/users`)).json(), ['ada', 'grace'])
  const client = await openClient(t, 'sse', url)
  t.equal(await client.text('greet', { name: 'Ada' }), 'Hello, Ada!')
  t.same(await (await fetch(`${url}/users`)).json(), ['ada', 'grace'])
  t.equal((await fetch(`${url}/nowhere`)).status, 404)
  const child = Number(await client.text('pid'))
  running.process.kill('SIGTERM')
  t.same(await running.ended, { code: 0, signal: null })
  t.notOk(isAlive(child))
})

t.test('shared-bridge: both transports are served by one process, which has started before', async (t) => {
  const { url } = await start(t, 'shared-bridge.js')
  const { children: [child] } = await (await fetch(`${url}/status`)).json() as { children: Array<{ pid: number }> }
  const clients = [await openClient(t, 'sse', url), await openClient(t, 'stream', url), await openClient(t, 'stream', url, { path: '/mcp', sdk: 'v2' })]
  for (const client of clients) t.equal(Number(await client.text('pid')), child?.pid)
})

t.test('auth: two users are let in, nobody else', async (t) => {
  const { url } = await start(t, 'auth.js')
  for (const [over, user] of [['sse', 'ada'], ['stream', 'grace']] as const) {
    const client = await openClient(t, over, url, { headers: { 'x-user-id': user } })
    t.equal(await client.text('greet', { name: user }), `Hello, ${user}!`)
    await t.rejects(openClient(t, over, url, { headers: { 'x-user-id': 'mallory' } }))
    await t.rejects(openClient(t, over, url))
  }
})

t.test('jwt: a token lets in, a session belongs to its subject', async (t) => {
  const { running, url } = await start(t, 'jwt.js')
  const token = (await running.wrote(/token: (\S+)/))[1] ?? ''
  const client = await openClient(t, 'stream', url, { headers: { authorization: `Bearer ${token}` } })
  t.equal(await client.text('greet', { name: 'Ada' }), 'Hello, Ada!')
  await t.rejects(openClient(t, 'stream', url))
  await t.rejects(openClient(t, 'stream', url, { headers: { authorization: `Bearer ${token}x` } }))
})

t.test('child-env: a child knows its client’s user and token, and no other’s', async (t) => {
  const { url } = await start(t, 'child-env.js')
  const open = (headers: Record<string, string>): ReturnType<typeof openClient> => openClient(t, 'stream', url, { headers })
  const [ada, grace] = [await open({ 'x-user-id': 'ada', 'x-api-token': 'secret' }), await open({ 'x-user-id': 'grace' })]
  t.equal(await ada.text('whoami'), 'ada, with a token')
  t.equal(await grace.text('whoami'), 'grace, without a token')
  t.not(await ada.text('pid'), await grace.text('pid'))
})

t.test('event-store: a stream with a store of one’s own', async (t) => {
  const { url } = await start(t, 'event-store.js')
  t.equal(await (await openClient(t, 'stream', url)).text('greet', { name: 'Ada' }), 'Hello, Ada!')
})

t.test('proxy: all of it in one plugin', async (t) => {
  const { url } = await start(t, 'proxy.js')
  for (const over of OVER) {
    t.equal(await (await openClient(t, over, url, { headers: { 'x-user-id': 'user123' } })).text('greet', { name: over }), `Hello, ${over}!`)
    await t.rejects(openClient(t, over, url))
  }
})

/** A server elsewhere that lets one user in. */
async function startRemote (t: Teardown): Promise<string> {
  const { url } = await start(t, 'proxy.js')
  return `${url}/mcp`
}

t.test('remote: clients of both transports before a server at a URL', async (t) => {
  const running = runNode(t, ['remote.js'], { cwd: PLUGINS, env: { PORT: '0', REMOTE_URL: await startRemote(t) } })
  const url = (await running.wrote(/listening on (http:\S+)/))[1] ?? ''
  for (const over of OVER) {
    for (const sdk of ['v1', 'v2-auto'] as const) t.equal(await (await openClient(t, over, url, { sdk })).text('greet', { name: over }), `Hello, ${over}!`)
  }
  running.process.kill('SIGTERM')
  t.same(await running.ended, { code: 0, signal: null })
})

t.test('stdio: a server at a URL as one that a host starts', async (t) => {
  const command = [process.execPath, join(PLUGINS, 'stdio.js')]
  const env = { REMOTE_URL: await startRemote(t) }
  for (const sdk of SDKS) t.equal(await (await openStdio(t, { command, env, sdk })).text('greet', { name: sdk }), `Hello, ${sdk}!`)
})

t.test('desktop.json: a host’s configuration, with which it reaches a server at a URL', async (t) => {
  const remote = await startRemote(t)
  const { mcpServers } = JSON.parse(await readFile(join(PLUGINS, 'desktop.json'), 'utf8')) as { mcpServers: Record<string, { command: string, args: string[], env: Record<string, string> }> }
  for (const { command, args, env } of Object.values(mcpServers)) {
    const there = args.map(argument => argument.replace('http://127.0.0.1:8080/mcp', remote))
    t.notSame(there, args)
    const client = await openStdio(t, { command: [command, ...there], env, cwd: PLUGINS })
    t.equal(await client.text('greet', { name: 'Ada' }), 'Hello, Ada!')
  }
})

t.test('messages: another id, and the same bytes', async (t) => {
  const running = runNode(t, ['messages.js'], { cwd: PLUGINS })
  t.same(await running.ended, { code: 0, signal: null })
  t.equal(running.stdout(), 'tools/call "a" {"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"add","arguments":{"n":12345678901234567890}}}\n')
})

t.test('library: each function of it once', async (t) => {
  const running = runNode(t, ['library.js'], { cwd: LIBRARY, env: { PORT: '0' } })
  t.same(await running.ended, { code: 0, signal: null })
  t.equal(running.stdout(), 'Hello, Ada! You are user123.\nsent initialize\nsent notifications/initialized\nsent tools/call\nHello, Grace! You are a proxy.\n')
})

t.test('several: a configuration over HTTP, and its servers as one over stdio', async (t) => {
  const cwd = join(ROOT, 'examples/several')
  const proxy = runBinary(t, ['--port', '0', '--config', 'mcp.json'], { cwd, env: { MEMORY_FILE: join(t.testdir(), 'memory.jsonl') } })
  const url = (await proxy.wrote(/MCP servers ready:[^]*?(http:\/\/[\d.]+:\d+)/))[1] ?? ''
  t.equal(await (await openClient(t, 'sse', url, { path: '/everything/sse' })).text('echo', { message: 'hi' }), 'Echo: hi')
  t.equal((await fetch(`${url}/elsewhere/mcp`)).status, 404)
  for (const sdk of ['v1', 'v2-pinned'] as const) {
    const client = await openStdio(t, { command: [process.execPath, join(cwd, 'merged.js')], env: { BASE_URL: url }, sdk })
    t.equal(await client.text('everything__echo', { message: sdk }), `Echo: ${sdk}`)
    await client.call('memory__create_entities', { entities: [{ name: sdk, entityType: 'sdk', observations: [] }] })
    t.match(await client.text('memory__read_graph'), sdk)
  }
  const page = await readFile(join(ROOT, 'docs/several-servers.md'), 'utf8')
  const sample = /^```js\n([^]*?)^```$/m.exec(page)?.[1] ?? 'none'
  t.ok(essence((await readFile(join(cwd, 'merged.js'), 'utf8')).replace(/^const base.*$/m, '').replace(/`\$\{base\}(.*?)`/g, "'http://127.0.0.1:8080$1'")).includes(essence(sample)))
})

t.test('each sample of a README is part of an example that runs', async (t) => {
  const files = (await Promise.all([PLUGINS, LIBRARY].map(async directory => (await readdir(directory)).filter(name => name.endsWith('.js')).map(name => join(directory, name))))).flat()
  const sources = await Promise.all(files.map(async file => essence(await readFile(file, 'utf8'))))
  const packages = (await readdir(join(ROOT, 'packages'))).map(name => `packages/${name}/`)
  for (const directory of ['', ...packages]) {
    const readme = await readFile(join(ROOT, directory, 'README.md'), 'utf8')
    const samples = [...readme.matchAll(/^```(?:ts|js)\n([^]*?)^```$/gm)].map(([, sample = '']) => essence(sample))
    t.ok(samples.length >= 1, directory)
    for (const sample of samples) t.ok(sources.some(source => source.includes(sample)), sample)
  }
})

t.test('every example is tested and in the list', async (t) => {
  const page = await readFile(join(PLUGINS, 'README.md'), 'utf8')
  const tests = await readFile(join(ROOT, 'test/examples.test.ts'), 'utf8')
  for (const name of (await readdir(PLUGINS)).filter(name => name.endsWith('.js') && !['server.js', 'announce.js'].includes(name))) {
    t.match(page, `[${name}](${name})`)
    t.match(tests, `'${name}'`)
  }
})

/** What a sample says: without imports, comments and white space. Examples take their port from the environment. */
function essence (source: string): string {
  return source.replace(/^import .*$|^\s*\/\/.*$/gm, '').replaceAll('Number(process.env.PORT ?? 3000)', '3000').replace(/\s+/g, ' ').trim()
}
