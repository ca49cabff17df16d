// What clients see who keep their connections, and use them while the proxy stops.
import t, { type Test } from 'tap'
import { CHILD, lean, type Teardown } from './helpers/app.js'
import { runBinary, type Running } from './helpers/binary.js'
import { call } from './helpers/http.js'
import { until } from './helpers/until.js'
import { openSession, openSessions, Plug, serveWorkers } from './helpers/workers.js'

const COMMAND = ['--isolation', 'shared', ...lean(CHILD)]
const CONNECTIONS = 20

t.setTimeout(110_000)

async function serveAlone (t: Teardown, args: readonly string[]): Promise<{ running: Running, url: string }> {
  const running = runBinary(t, ['--port', '0', ...args])
  return { running, url: await running.url() }
}

interface Caller {
  answered: number
  /** Resolves with how the connection ended: after an answer that said so, or without one. */
  readonly ended: Promise<'told' | 'lost'>
}

/** Calls again and again over one connection, until it is told not to. */
function keepCalling (t: Teardown, url: string, session: Record<string, string>): Caller {
  const client = new Plug(t, url)
  const loop = async (): Promise<'told' | 'lost'> => {
    for (let id = 1; ; id++) {
      client.send('POST', session, call(id, 'sleep', { ms: 3 }))
      await until(() => isWhole(client.heard) || client.socket.closed)
      if (!isWhole(client.heard)) return 'lost'
      caller.answered++
      if (/^connection: close\r$/im.test(client.heard)) return 'told'
    }
  }
  const caller: Caller = { answered: 0, ended: loop() }
  return caller
}

/** Whether a response with a known length is all there. */
function isWhole (heard: string): boolean {
  const end = heard.indexOf('\r\n\r\n')
  return end !== -1 && heard.length >= end + 4 + Number(/^content-length: (\d+)/im.exec(heard)?.[1] ?? Infinity)
}

async function stopUnder (t: Test, running: Running, callers: Caller[]): Promise<void> {
  await until(() => callers.every(({ answered }) => answered >= 3))
  running.process.kill('SIGTERM')
  const ends = await Promise.all(callers.map(({ ended }) => ended))
  // a request and the end of a connection that looked idle may cross on their way, which HTTP/1.1 cannot prevent (RFC 9112, 9.5)
  t.ok(ends.filter(end => end === 'lost').length <= callers.length / 10, ends.join(' '))
  t.same(await running.ended, { code: 0, signal: null })
}

t.test('each request of clients that go on while one process stops is answered, and the last answer says that it was', async (t) => {
  const { running, url } = await serveAlone(t, COMMAND)
  const sessions = await Promise.all(Array.from({ length: CONNECTIONS }, () => openSession(url)))
  await stopUnder(t, running, sessions.map(session => keepCalling(t, url, session)))
})

t.test('so it is with workers', async (t) => {
  const { running, url } = await serveWorkers(t, COMMAND)
  const sessions = await Promise.all(Array.from({ length: CONNECTIONS }, () => openSession(url)))
  await stopUnder(t, running, sessions.map(session => keepCalling(t, url, session)))
})

t.test('and with requests that are passed on among them', async (t) => {
  const { running, url } = await serveWorkers(t, COMMAND)
  const sessions = await openSessions(url, 3)
  const callers = await Promise.all(Array.from({ length: CONNECTIONS }, async (_, n) => {
    // the first request leads the connection to a worker, the next ones are another's
    const [first = {}, second = {}] = [sessions[n % 3], sessions[(n + 1) % 3]]
    let asked = 0
    return keepCalling(t, url, { get 'mcp-session-id' () { return (asked++ === 0 ? first : second)['mcp-session-id'] ?? '' } })
  }))
  await stopUnder(t, running, callers)
})

t.test('an answer that its client is still reading is sent to its end', async (t) => {
  const { running, url } = await serveAlone(t, ['--close-grace', '60000', ...COMMAND])
  const session = await openSession(url)
  const client = new Plug(t, url)
  const BYTES = 30_000_000
  client.socket.once('data', () => client.socket.pause())
  client.send('POST', session, call(1, 'big', { bytes: BYTES }))
  await client.hears('HTTP/1.1 200')
  running.process.kill('SIGTERM')
  await running.wrote(/"stopping"/)
  client.socket.resume()
  await until(() => client.socket.closed)
  t.ok(isWhole(client.heard), `${client.heard.length} bytes`)
  t.same(await running.ended, { code: 0, signal: null })
})

for (const [what, text] of [
  ['a head', 'POST /mcp HTTP/1.1\r\nhost: localh'],
  ['a body', 'POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{'],
  ['a body that nobody wants', 'POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{'],
] as const) {
  for (const serve of [serveAlone, serveWorkers]) {
    t.test(`half of ${what} keeps ${serve === serveAlone ? 'one process' : 'workers'} from ending for the grace, no longer`, async (t) => {
      const { running, url } = await serve(t, ['--close-grace', '100', ...COMMAND])
      const client = new Plug(t, url)
      client.socket.write(text)
      // a later connection is served: so the half has been read
      await openSession(url)
      running.process.kill('SIGTERM')
      t.same(await running.ended, { code: 0, signal: null })
    })
  }
}
