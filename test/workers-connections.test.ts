import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import { CHILD, lean, type Teardown } from './helpers/app.js'
import { runBinary } from './helpers/binary.js'
import { openClient } from './helpers/clients.js'
import { until } from './helpers/until.js'
import { plug, Plug, serveWorkers } from './helpers/workers.js'

const COMMAND = lean(CHILD)

t.setTimeout(110_000)

/** The HTTP status with which a connection is answered that says these bytes. */
async function say (t: Teardown, url: string, bytes: string | Buffer): Promise<string> {
  const client = new Plug(t, url)
  client.socket.write(bytes)
  await until(() => client.heard.includes('\r\n') || client.socket.destroyed)
  return /^HTTP\/1\.1 (\d+)/.exec(client.heard)?.[1] ?? 'nothing'
}

t.test('what is wrong at the start is said once, with the exit code that one process has', async (t) => {
  const other = createServer().listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  const cases: Array<readonly [code: number, args: readonly string[], message: RegExp, env?: Record<string, string>]> = [
    [2, ['--workers', '0', ...CHILD], /^mcp-proxy: --workers must be a whole number from 1 up to 256, not "0"$/m],
    [2, ['--workers', 'x', ...CHILD], /--workers must be a whole number/],
    [2, ['--workers', '2', '--port', '0', '--isolation', 'none', ...CHILD], /^mcp-proxy: .*isolation must be one of/m],
    [2, ['--workers', '2', '--host', '0.0.0.0', '--port', '0', ...CHILD], /^mcp-proxy: --host 0\.0\.0\.0/m],
    [2, ['--workers', '2', '--connect', 'http://localhost:1/'], /--workers is about serving over HTTP/],
    [3, ['--workers', '2', '--port', String(port), ...CHILD], new RegExp(`^mcp-proxy: .*in use.*${port}.*--port$`, 'm')],
    [4, ['--workers', '2', '--port', '0', 'no-such-command'], /^mcp-proxy: .*no-such-command could not be started/m],
    [4, ['--workers', '2', '--port', '0', ...CHILD], /^mcp-proxy: .*\b7\b.*\nThe last lines it wrote to stderr:\n {2}\| no API key$/m, { MCP_CHILD_STDERR: 'no API key', MCP_CHILD_EXIT: '7' }],
  ]
  for (const [code, args, message, env] of cases) {
    const running = runBinary(t, args, { ...(env !== undefined && { env }) })
    t.same(await running.ended, { code, signal: null }, args.join(' '))
    t.match(running.stderr(), message)
    t.equal(running.stderr().match(/^mcp-proxy: /gm)?.length, 1, 'once')
    t.equal(running.stdout(), '')
  }
})

t.test('connections that say nothing, too much or nonsense are answered as by one process, and keep nobody out', async (t) => {
  const { url } = await serveWorkers(t, ['--isolation', 'shared', ...COMMAND])
  const client = await openClient(t, 'stream', url, { path: '/mcp' })
  const works = async (): Promise<void> => { t.equal(await (await openClient(t, 'sse', url)).text('echo', { text: 'x' }), 'x') }
  t.equal(await say(t, url, `GET /mcp HTTP/1.1\r\nhost: localhost\r\nx: ${'x'.repeat(1_000_000)}`), '431')
  t.equal(await say(t, url, `GET /${'x'.repeat(100_000)}`), '431')
  t.equal(await say(t, url, 'nonsense\r\n\r\n'), '400')
  t.equal(await say(t, url, Buffer.alloc(64, 0xff)), '400')
  t.equal(await say(t, url, `POST /mcp HTTP/1.1\r\nmcp-session-id: ${client.sessionId()}\r\nmcp-session-id: x-w1\r\nhost: evil\r\ncontent-length: 0\r\n\r\n`), '403')
  // more than may wait, and heads that never end
  const silent = Array.from({ length: 1200 }, () => plug(t, url))
  const slow = Array.from({ length: 100 }, () => plug(t, url))
  for (const socket of slow) socket.write('GET /mcp HTTP/1.1\r\n')
  await Promise.all([...silent, ...slow].map(async socket => socket.connecting ? await once(socket, 'connect') : undefined))
  await works()
  t.equal(await client.text('echo', { text: 'y' }), 'y')
  // one that was silent for longer than it is looked at, and one whose head comes in two parts, are served
  const late = silent[0]
  let heard = ''
  late?.setEncoding('utf8').on('data', (text: string) => { heard += text })
  late?.write('GET /nowhere HTTP/1.1\r\nho')
  late?.write('st: localhost\r\n\r\n')
  await until(() => heard.startsWith('HTTP/1.1 404'))
  // who sends half a connection still hears the answer
  const half = plug(t, url)
  let answer = ''
  half.setEncoding('utf8').on('data', (text: string) => { answer += text })
  half.end('GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
  await once(half, 'close')
  t.match(answer, /^HTTP\/1\.1 404/)
  for (const socket of [...silent, ...slow]) socket.destroy()
  await works()
})

t.test('connections that leave before they were handed over leave nothing behind', { skip: process.platform !== 'linux' }, async (t) => {
  const { url, running, workers } = await serveWorkers(t, ['--isolation', 'shared', ...COMMAND])
  const sockets = (): number[] => [running.process.pid ?? 0, ...workers().values()].map(pid => readdirSync(`/proc/${pid}/fd`).length)
  const client = await openClient(t, 'stream', url, { path: '/mcp' })
  await client.text('echo', { text: 'x' })
  const before = sockets()
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 50 }, async (_, n) => {
      const socket = plug(t, url)
      await once(socket, 'connect')
      socket.write(n % 2 === 0 ? 'GET /mcp HT' : 'GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n')
      if (n % 3 === 0) socket.resetAndDestroy()
      else socket.destroy()
    }))
    t.equal(await client.text('echo', { text: `${round}` }), `${round}`)
  }
  await until(() => sockets().every((count, index) => count <= (before[index] ?? 0) + 2))
})
