import { readFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { CHILD, fixture } from './helpers/app.js'
import { BINARY, runBinary, type Running } from './helpers/binary.js'
import { openClient } from './helpers/clients.js'

const FREE = ['--port', '0']
const USER = 'user-id-that-is-secret'

/** Runs the binary to its end. */
async function run (t: { teardown: (fn: () => unknown) => void }, args: readonly string[], env?: Record<string, string>): Promise<{ code: number | null, stdout: string, stderr: string }> {
  const running = runBinary(t, args, { ...(env !== undefined && { env }) })
  const { code } = await running.ended
  return { code, stdout: running.stdout(), stderr: running.stderr() }
}

/** The configuration that a running binary has printed. */
function printed (running: Running): { type: string, url: string, headers?: Record<string, string> } {
  const { mcpServers } = JSON.parse(/^\{[^]*^\}/m.exec(running.stdout())?.[0] ?? '{}') as { mcpServers: Record<string, { type: string, url: string, headers?: Record<string, string> }> }
  const [server] = Object.values(mcpServers)
  if (server === undefined) throw new Error('no server in the configuration')
  return server
}

t.test('it says its version and its flags, and starts nothing', async (t) => {
  const { version } = JSON.parse(await readFile(new URL('../package.json', `file://${BINARY}`), 'utf8')) as { version: string }
  t.same(await run(t, ['--version']), { code: 0, stdout: `${version}\n`, stderr: '' })
  const help = await run(t, ['-h'])
  t.equal(help.code, 0)
  t.match(help.stdout, /^Serves an MCP server[^]*Usage: mcp-proxy \[flags\] \[--\] command[^]*--user-id ID[^]*Exit codes/)
})

t.test('what is wrong with a flag is said in one line, with exit code 2', async (t) => {
  const cases: Array<readonly [args: string[], message: RegExp, env?: Record<string, string>]> = [
    [['--prot', '80', ...CHILD], /Unknown option '--prot'/],
    [['--port', 'http', ...CHILD], /--port must be a whole number .*"http"/],
    [['--port', '70000', ...CHILD], /--port .*"70000"/],
    [[...FREE, '--server', 'both', ...CHILD], /--server must be sse or stream, not "both"/],
    [[...FREE, '--isolation', 'none', ...CHILD], /isolation must be one of auto, shared.*"none"/],
    [[...FREE, '--endpoint', 'sse', ...CHILD], /--endpoint must be a path.*"sse"/],
    [[...FREE, '--env-from', 'X', ...CHILD], /--env-from must be NAME=.*"X"/],
    [[...FREE, '--env-from', 'X=principal', ...CHILD], /--env-from needs --isolation session or principal, not auto/],
    [['--host', '0.0.0.0', ...FREE, ...CHILD], /--host 0\.0\.0\.0 .*--user-id/],
    [[], /no command to serve/],
    [CHILD as string[], /MCP_PROXY_PORT .*"http"/, { MCP_PROXY_PORT: 'http' }],
  ]
  for (const [args, message, env] of cases) {
    const { code, stdout, stderr } = await run(t, args, env)
    t.equal(code, 2, args.join(' '))
    t.match(stderr.split('\n')[0], message)
    t.match(stderr, /^mcp-proxy: /)
    t.notMatch(stderr, /^ +at /m, 'no stack')
    t.equal(stdout, '')
  }
})

t.test('a port in use ends it with exit code 3, at once, also when the command is slow', async (t) => {
  const other = createServer().listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  const { code, stdout, stderr } = await run(t, ['--port', String(port), '--start-timeout', '3600000', ...CHILD], { MCP_CHILD_SILENT: '1' })
  t.equal(code, 3)
  t.match(stderr, new RegExp(`^mcp-proxy: .*in use.*${port}.*--port$`, 'm'))
  t.equal(stdout, '')
})

t.test('a command that does not serve ends it with exit code 4, and says why', async (t) => {
  const unknown = await run(t, [...FREE, 'no-such-command', '--flag'])
  t.equal(unknown.code, 4)
  t.match(unknown.stderr, /^mcp-proxy: .*no-such-command could not be started/m)
  t.notMatch(unknown.stderr, 'server started')
  t.equal(unknown.stdout, '')

  const dead = await run(t, [...FREE, ...CHILD], { MCP_CHILD_STDERR: 'no API key\ngive me one', MCP_CHILD_EXIT: '7' })
  t.equal(dead.code, 4)
  t.match(dead.stderr, /^mcp-proxy: .*\b7\b.*\nThe last lines it wrote to stderr:\n {2}\| no API key\n {2}\| give me one$/m)

  const silent = await run(t, [...FREE, '--start-timeout', '300', ...CHILD], { MCP_CHILD_SILENT: '1' })
  t.equal(silent.code, 4)
  t.match(silent.stderr, /^mcp-proxy: .*300/m)

  const missing = await run(t, [...FREE, '--cwd', fixture('nowhere'), ...CHILD])
  t.equal(missing.code, 4)
  t.match(missing.stderr, /nowhere/)
})

t.test('a command that does not start ends it also while a parent holds its stdin', async (t) => {
  const running = runBinary(t, [...FREE, '--exit-with-parent', 'no-such-command'])
  t.same(await running.ended, { code: 4, signal: null })
})

t.test('the line of the README serves both transports and prints what a client needs', async (t) => {
  const running = runBinary(t, [...FREE, '--endpoint', '/sse', '--user-id', USER, ...CHILD, '--port', '1', '--help'], { env: { MCP_CHILD_STDERR: 'hello from the child' } })
  const url = await running.url()
  await running.wrote(/\}\n$/)
  t.equal(running.stdout().split('\n\n')[0], `MCP server ready:\n  Streamable HTTP  ${url}/stream\n  Streamable HTTP  ${url}/mcp\n  SSE              ${url}/sse`)

  const server = printed(running)
  t.same(server, { type: 'http', url: `${url}/mcp`, headers: { 'x-user-id': '<user id>' } })
  await t.rejects(openClient(t, 'stream', url, { path: '/mcp' }), /401|Unauthorized|user/i)
  const headers = Object.fromEntries(Object.entries(server.headers ?? {}).map(([name, value]) => [name, value.replace('<user id>', USER)]))
  for (const [over, path] of [['stream', '/mcp'], ['stream', '/stream'], ['sse', '/sse']] as const) {
    const client = await openClient(t, over, url, { headers, path })
    t.equal(await client.text('echo', { text: 'hi' }), 'hi', path)
    t.same(JSON.parse(await client.text('args')), ['--port', '1', '--help'], 'the child’s own flags are its own')
  }

  t.notMatch(running.stdout() + running.stderr(), USER)
  t.same(running.stderr().trimEnd().split('\n').filter(line => !line.startsWith('{')), [], 'logs are JSON lines')
  t.ok(running.log().some(line => line['stderr'] === 'hello from the child'))
})

t.test('one transport alone is served where it is asked for', async (t) => {
  const sse = runBinary(t, [...FREE, '--server', 'sse', '--endpoint', '/events', ...CHILD])
  const stream = runBinary(t, [...FREE, '--server=stream', ...CHILD])
  const [sseUrl, streamUrl] = [await sse.url(), await stream.url()]
  await Promise.all([sse.wrote(/\}\n$/), stream.wrote(/\}\n$/)])

  t.same(printed(sse), { type: 'sse', url: `${sseUrl}/events` })
  t.equal(await (await openClient(t, 'sse', printed(sse).url, { path: '/events' })).text('echo', { text: 'a' }), 'a')
  for (const path of ['/sse', '/stream', '/mcp']) t.equal((await fetch(sseUrl + path, { method: 'POST', body: '{}' })).status, 404, path)

  t.same(printed(stream), { type: 'http', url: `${streamUrl}/mcp` })
  t.equal(await (await openClient(t, 'stream', streamUrl, { path: '/stream' })).text('echo', { text: 'b' }), 'b')
  for (const path of ['/sse', '/messages']) t.equal((await fetch(streamUrl + path)).status, 404, path)
  t.notMatch(stream.stdout(), 'SSE')
})

t.test('settings come from variables, which never reach the command; the others do, unless told otherwise', async (t) => {
  const env = { MCP_PROXY_PORT: '0', MCP_PROXY_USER_ID: 'ada,grace', MCP_PROXY_COMMAND: 'x', API_KEY: 'k', LANG: 'C' }
  const seen = async (args: string[]): Promise<Record<string, string>> => {
    const client = await openClient(t, 'stream', await runBinary(t, [...args, ...CHILD], { env }).url(), { headers: { 'x-user-id': 'grace' } })
    return JSON.parse(await client.text('env')) as Record<string, string>
  }
  const all = await seen([])
  t.equal(all['API_KEY'], 'k')
  t.same(Object.keys(all).filter(name => name.startsWith('MCP_PROXY_')), [])
  const safe = await seen(['--environment', 'safe'])
  t.equal(safe['API_KEY'], undefined)
  t.equal(safe['LANG'], 'C')
  t.ok(safe['PATH'])
  const named = await seen(['--environment', 'API_KEY', '--environment', 'PATH', '--environment', 'MCP_PROXY_USER_ID'])
  t.equal(named['API_KEY'], 'k')
  t.equal(named['LANG'], undefined)
  t.equal(named['MCP_PROXY_USER_ID'], undefined)
})

t.test('a variable of the child comes from its client', async (t) => {
  const running = runBinary(t, [...FREE, '--user-id', 'ada', '--isolation', 'session', '--env-from', 'TOKEN=header:x-token', '--env-from', 'WHO=principal', ...CHILD])
  const client = await openClient(t, 'stream', await running.url(), { headers: { 'x-user-id': 'ada', 'x-token': 'secret-token' } })
  t.match(JSON.parse(await client.text('env')), { TOKEN: 'secret-token', WHO: 'ada' })
  t.notMatch(running.stderr(), 'secret-token')
})

t.test('a log with --debug tells of requests, and of no user id and no session id', async (t) => {
  const running = runBinary(t, [...FREE, '--debug', '--user-id', USER, ...CHILD])
  const url = await running.url()
  const headers = { 'x-user-id': USER }
  const [stream, sse] = [await openClient(t, 'stream', url, { headers }), await openClient(t, 'sse', url, { headers })]
  for (const client of [stream, sse]) t.equal(await client.text('echo', { text: 'message-text' }), 'message-text')
  const lost = await fetch(`${url}/stream`, { headers: { ...headers, accept: 'text/event-stream', 'mcp-session-id': 'made-up-session' } })
  t.equal(lost.status, 404)
  const sessions = [stream.sessionId() ?? 'none', 'made-up-session']
  await stream.terminate()
  await running.wrote(/"method":"DELETE"/)
  const log = running.stderr()
  t.match(log, /"url":"\/messages/)
  for (const secret of [USER, ...sessions, 'message-text']) t.notMatch(log, secret)
  t.notMatch(log, /sessionId=[\da-f]/)
})
