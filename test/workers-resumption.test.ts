// Clients whose connections break, and which come back over connections that lead to any worker.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { CHILD, lean } from './helpers/app.js'
import { SESSION_SDKS, openClient, type OpenClient, type Sdk } from './helpers/clients.js'
import { call } from './helpers/http.js'
import { startRelay, type Relay } from './helpers/relay.js'
import { openSessions, send, serveWorkers, workerOf } from './helpers/workers.js'

const COMMAND = ['--isolation', 'shared', ...lean(CHILD)]
const CHANGED = 'notifications/tools/list_changed'

t.setTimeout(110_000)

interface Setup {
  readonly relay: Relay
  readonly client: OpenClient
  /** A call of another client of the same worker. */
  readonly other: (name: string) => Promise<void>
}

/** A client behind a proxy that shares its connections: each leads to another worker than the one before. */
async function start (t: Test, sdk: Sdk): Promise<Setup> {
  const { url } = await serveWorkers(t, COMMAND)
  const sessions = await openSessions(url, 3)
  let turn = 0
  const takeTurns = async (upstream: Socket): Promise<void> => {
    upstream.write(`GET /nowhere HTTP/1.1\r\nhost: localhost\r\nmcp-session-id: ${sessions[turn++ % 3]?.['mcp-session-id']}\r\n\r\n`)
    let heard = ''
    while (!heard.endsWith('}')) {
      const [chunk] = await once(upstream, 'data') as [Buffer]
      heard += chunk.toString()
    }
  }
  const relay = await startRelay(t, url, takeTurns)
  const client = await openClient(t, 'stream', relay.url, { sdk, path: '/mcp' })
  const neighbour = sessions.find(session => workerOf(session['mcp-session-id']) === workerOf(client.sessionId())) ?? {}
  return { relay, client, other: async (name) => { t.equal((await send(url, { headers: neighbour, body: call(1, name) })).status, 200) } }
}

const progress = ({ wire }: OpenClient): unknown[] => wire.notified('notifications/progress').map(({ params }) => params?.['progress'])

for (const sdk of SESSION_SDKS) {
  t.test(`${sdk}: what is said while a client is away is there when it comes back, whichever worker gets its connections`, async (t) => {
    const { relay, client, other } = await start(t, sdk)
    for (let round = 1; round <= 6; round++) {
      const answer = client.text('gated', {}, { onprogress: () => {} })
      await client.wire.until(() => progress(client).length === 3 * round - 2)
      relay.cut()
      await other('open')
      await other('listChanged')
      t.equal(client.wire.notified(CHANGED).length, round - 1, 'nothing came while the line was down')
      relay.restore()
      t.equal(await answer, 'through')
      await client.wire.until(() => client.wire.notified(CHANGED).length === round)
      t.equal(await client.text('echo', { text: `${round}` }), `${round}`)
    }
    t.strictSame(progress(client), Array.from({ length: 6 }, () => [1, 2, 3]).flat(), 'nothing is lost, nothing comes twice')
    t.equal(client.wire.notified(CHANGED).length, 6)
  })

  t.test(`${sdk}: an answer that is cut again and again comes whole`, async (t) => {
    const { relay, client } = await start(t, sdk)
    const COUNT = 400
    const answer = client.text('notifyMany', { count: COUNT, bytes: 1000 }, { onprogress: () => {} })
    for (const after of [20, 100, 101, 250]) {
      await client.wire.until(() => progress(client).length >= after)
      relay.cut()
      relay.restore()
    }
    t.equal(await answer, 'done')
    t.strictSame(progress(client), Array.from({ length: COUNT }, (_, index) => index + 1))
    t.equal(await client.text('echo', { text: 'on' }), 'on')
  })
}
