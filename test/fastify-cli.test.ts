import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createServer, type AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t from 'tap'
import { CHILD } from './helpers/app.js'
import { isAlive, runNode, type Running, type RunOptions } from './helpers/binary.js'
import { openClient } from './helpers/clients.js'

interface Teardown { teardown: (fn: () => unknown) => void }

const PACKAGE = fileURLToPath(new URL('../../packages/mcp-proxy/', import.meta.url))
const APP = join(PACKAGE, 'dist/app.js')
const FASTIFY = join(dirname(createRequire(join(PACKAGE, 'package.json')).resolve('fastify-cli')), 'cli.js')
const COMMAND = CHILD.join(' ')

/** fastify-cli takes no port 0. */
async function freePort (): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return String(port)
}

async function start (t: Teardown, args: readonly string[], { level = 'info', ...options }: RunOptions & { level?: string } = {}): Promise<Running> {
  return runNode(t, [FASTIFY, 'start', '--log-level', level, '--address', '127.0.0.1', '--port', await freePort(), '-g', '10000', ...args], options)
}

/** A directory of a user, with one file. */
async function directory (t: Teardown, name: string, content: string): Promise<string> {
  // inside the package: an app of a user finds mcp-proxy in its node_modules
  const made = await mkdtemp(join(fileURLToPath(new URL('../', import.meta.url)), '.test/user-'))
  t.teardown(() => rm(made, { recursive: true, force: true }))
  await writeFile(join(made, name), content)
  return made
}

t.test('flags behind -- reach the app, and SIGTERM leaves no process', async (t) => {
  const running = await start(t, [APP, '--', `--command=${COMMAND}`, '--args=--port', '--args=1', '--user-id=ada', '--user-id=grace', '--endpoint=/events'], { env: { MCP_CHILD_GRANDCHILD: '1' } })
  const url = await running.url()
  const grandchild = Number((await running.wrote(/grandchild (\d+)/))[1])
  t.match(running.stdout(), `SSE              ${url}/events\n`)
  await t.rejects(openClient(t, 'stream', url))
  const client = await openClient(t, 'sse', url, { path: '/events', headers: { 'x-user-id': 'grace' } })
  t.same(JSON.parse(await client.text('args')), ['--port', '1'])
  const child = Number(await client.text('pid'))
  running.process.kill('SIGTERM')
  await running.ended
  t.notOk(isAlive(child), 'child')
  t.notOk(isAlive(grandchild), 'grandchild')
})

t.test('options come from an options export of one’s own app file', async (t) => {
  const cwd = await directory(t, 'app.mjs', `export { default } from 'mcp-proxy/app'\nexport const options = { command: ${JSON.stringify(COMMAND)}, userId: 'user123', server: 'stream' }\n`)
  const running = await start(t, ['--options', 'app.mjs'], { cwd })
  const client = await openClient(t, 'stream', await running.url(), { headers: { 'x-user-id': 'user123' } })
  t.equal(await client.text('echo', { text: 'hi' }), 'hi')
  t.notMatch(running.stdout(), /SSE|user123/)
})

t.test('options come from .env', async (t) => {
  const cwd = await directory(t, '.env', `MCP_PROXY_COMMAND=${COMMAND}\nMCP_PROXY_USER_ID=ada,grace\nMCP_PROXY_SERVER=sse\nOTHER=yes\n`)
  const running = await start(t, [APP], { cwd })
  const client = await openClient(t, 'sse', await running.url(), { headers: { 'x-user-id': 'ada' } })
  const env = JSON.parse(await client.text('env')) as Record<string, string>
  t.equal(env['OTHER'], 'yes')
  t.same(Object.keys(env).filter(name => name.startsWith('MCP_PROXY_')), [])
})

t.test('a configuration of several servers is served, and those that fail are named', async (t) => {
  const [command, ...args] = CHILD
  const cwd = await directory(t, 'mcp.json', JSON.stringify({ mcpServers: { one: { command, args }, two: { command: 'no-such-command' } } }))
  const running = await start(t, [APP, '--', '--config=mcp.json', '--user-id=ada'], { cwd, level: 'fatal' })
  const [, url = ''] = await running.wrote(/MCP servers ready:[^]*?(http:\/\/[\d.]+:\d+)\/one[^]*?Not running:\n {2}two: .*\n/)
  const client = await openClient(t, 'sse', url, { path: '/one/sse', headers: { 'x-user-id': 'ada' } })
  const child = Number(await client.text('pid'))
  await t.rejects(openClient(t, 'stream', url, { path: '/one/mcp' }))
  running.process.kill('SIGTERM')
  await running.ended
  t.notOk(isAlive(child))
})

t.test('what is wrong is said clearly', async (t) => {
  const cases: Array<readonly [args: string[], message: RegExp]> = [
    [[], /no command to serve: give --command="…" behind --, or MCP_PROXY_COMMAND/],
    [[`--command=${COMMAND}`, '--request-timeout=soon'], /--request-timeout must be a whole number, not "soon"/],
    [[`--command=${COMMAND}`, '--user-ids=ada'], /unknown option --user-?[iI]ds: did you mean --user-id\?/],
    [[`--command=${COMMAND}`, '--config=mcp.json'], /--config names servers, and there is a command too/],
    [['--config=no-such.json'], /no-such.json cannot be read: ENOENT/],
    [[`--command=${COMMAND}`, '--server=both'], /--server must be sse or stream, not "both"/],
  ]
  for (const [args, message] of cases) {
    const running = await start(t, [APP, '--', ...args])
    const { code } = await running.ended
    t.not(code, 0, args.join(' '))
    t.match(running.stdout() + running.stderr(), message)
  }
})

t.test('a command that does not start leaves the app running, and says so at any log level', async (t) => {
  for (const level of ['info', 'fatal']) {
    const running = await start(t, [APP, '--', '--command=no-such-command'], { level })
    t.match((await running.wrote(/^mcp-proxy: the MCP server does not run.*/m))[0], /no-such-command could not be started/)
    t.notMatch(running.stdout(), /MCP server ready/)
    t.ok(isAlive(running.process.pid as number))
  }
})

t.test('an app with options of the bundled one logs requests no more than the binary does', async (t) => {
  const cwd = await directory(t, 'app.mjs', `export { default } from '${pathToFileURL(APP).href}'\nexport { options } from '${pathToFileURL(APP).href}'\n`)
  const running = await start(t, ['--options', 'app.mjs', '--', `--command=${COMMAND}`], { cwd })
  const client = await openClient(t, 'stream', await running.url())
  await client.text('echo', { text: 'hi' })
  t.notMatch(running.stdout(), /incoming request/)
})
