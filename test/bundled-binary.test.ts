import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { CHILD, lean } from './helpers/app.js'
import { runNode, type Running } from './helpers/binary.js'
import { OVER, openClient, openStdio } from './helpers/clients.js'
import { open } from './helpers/workers.js'

const PACKAGE = fileURLToPath(new URL('../../packages/mcp-proxy/', import.meta.url))
const COMMAND = lean(CHILD)

t.setTimeout(110_000)

// Made here of what is built now, and laid out as it is published: without `dist`, so that nothing else can have run.
const directory = await mkdtemp(join(tmpdir(), 'mcp-proxy-bundled-'))
t.teardown(() => rm(directory, { recursive: true, force: true }))
for (const name of ['bin', 'package.json']) await cp(join(PACKAGE, name), join(directory, name), { recursive: true })
await symlink(join(PACKAGE, 'node_modules'), join(directory, 'node_modules'))
const bundling = runNode(t, [join(PACKAGE, 'bundle.mjs'), join(directory, 'bundle')])
t.same(await bundling.ended, { code: 0, signal: null }, bundling.stderr())
const BUNDLED = join(directory, 'bin/mcp-proxy.js')

const run = (t: { teardown: (fn: () => unknown) => void }, ...args: string[]): Running => runNode(t, [BUNDLED, ...args])

/** Where it listens, of one server or several. */
async function listening (running: Running): Promise<string> {
  return (await running.wrote(/MCP servers? ready:[^]*?(http:\/\/[\d.]+:\d+)/))[1] ?? ''
}

t.test('it says its version and its flags', async (t) => {
  const { version } = JSON.parse(await readFile(join(PACKAGE, 'package.json'), 'utf8')) as { version: string }
  const [said, help] = [run(t, '--version'), run(t, '--help')]
  t.same(await said.ended, { code: 0, signal: null })
  t.equal(said.stdout(), `${version}\n`)
  t.same(await help.ended, { code: 0, signal: null })
  t.match(help.stdout(), /Usage: mcp-proxy \[flags\] \[--\] command/)
})

t.test('a wrong flag has its own exit code', async (t) => {
  const running = run(t, '--prot', '80', ...COMMAND)
  t.same(await running.ended, { code: 2, signal: null })
  t.match(running.stderr(), /^mcp-proxy: Unknown option '--prot'/)
})

t.test('it serves a command, over both transports', async (t) => {
  const url = await listening(run(t, '--port', '0', ...COMMAND))
  for (const transport of OVER) {
    const client = await openClient(t, transport, url)
    t.equal(await client.text('echo', { text: transport }), transport)
  }
})

t.test('its workers are of the bundle, too', async (t) => {
  const running = run(t, '--port', '0', '--workers', '2', ...COMMAND)
  const url = await listening(running)
  for (const transport of OVER) {
    const client = await openClient(t, transport, url)
    t.equal(await client.text('echo', { text: transport }), transport)
  }
  t.equal(running.log().filter(({ msg }) => msg === 'worker is ready').length, 2)
})

t.test('it serves a configuration', async (t) => {
  const file = join(directory, 'mcp.json')
  const [command, ...args] = COMMAND
  await writeFile(file, JSON.stringify({ mcpServers: { one: { command, args }, two: { command, args } } }))
  const url = await listening(run(t, '--port', '0', '--config', file))
  for (const name of ['one', 'two']) {
    const client = await openClient(t, 'stream', url, { path: `/${name}/mcp` })
    t.equal(await client.text('echo', { text: name }), name)
  }
  const { response } = await open(url, { path: '/three/mcp', body: {} })
  t.equal(response.statusCode, 404)
  response.resume()
})

t.test('it connects stdio to a server elsewhere', async (t) => {
  const url = await listening(run(t, '--port', '0', ...COMMAND))
  const client = await openStdio(t, { command: lean([process.execPath, BUNDLED, '--connect', `${url}/mcp`]) })
  t.equal(await client.text('echo', { text: 'far' }), 'far')
})

t.test('a stack trace names the source', async (t) => {
  const failing = join(directory, 'failing')
  await mkdir(failing)
  await cp(join(directory, 'bundle'), join(failing, 'bundle'), { recursive: true })
  await symlink(join(PACKAGE, 'node_modules'), join(failing, 'node_modules'))
  // a package without the file that its version is in
  const running = runNode(t, ['--enable-source-maps', join(failing, 'bundle/cli/main.js'), '--version'])
  t.same(await running.ended, { code: 1, signal: null })
  t.match(running.stderr(), /src\/cli\/main\.ts:\d+/)
})
