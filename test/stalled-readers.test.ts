// Clients that stop reading, or leave for good: nothing waits for them, and nothing is kept for them.
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect as dial } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance } from 'fastify'
import { InMemoryEventStore } from '@mcp-proxy/endpoint'
import { startProxy } from './helpers/app.js'
import { JSON_AND_STREAM, call, initialize } from './helpers/http.js'
import { live, type Live } from './helpers/live.js'
import { startPuppet, type Puppet } from './helpers/puppet.js'
import { until } from './helpers/until.js'

const MEGABYTE = 'x'.repeat(1024 * 1024)
/** More megabytes than the buffers of a connection take. */
const MUCH = 16

setFlagsFromString('--expose_gc')
const collectGarbage = runInNewContext('gc') as () => void

interface Setup {
  app: FastifyInstance
  puppet: Puppet
  url: string
  session: Record<string, string>
  /** A call that has said much while its client was away; where the client was. */
  away: () => Promise<string>
  answer: () => void
}

async function open (t: Test): Promise<Setup> {
  const { app, puppet, url } = await startPuppet(t, { stream: { eventStore: new InMemoryEventStore({ maxBytes: 1e9, maxStreamBytes: 1e9 }), keepAliveInterval: 0 } })
  const session = await initialize(app, { revision: '2025-11-25' })
  const away = async (): Promise<string> => {
    const asked = live(t, `${url}/stream`, { method: 'POST', headers: session, body: call(1, 'x') })
    await puppet.party.called(1)
    void puppet.party.say('started', 1)
    const stream = await asked
    await stream.until('started')
    stream.leave()
    await stream.ended
    for (let n = 0; n < MUCH; n++) void puppet.party.say(MEGABYTE, 1)
    return stream.lastId
  }
  return { app, puppet, url, session, away, answer: () => { void puppet.party.answer(1, { ready: true }) } }
}

/** Asks for a stream, and takes nothing but the start of the response. */
async function stall (t: Test, url: string, headers: Record<string, string>): Promise<void> {
  const socket = dial(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  const lines = Object.entries({ host: 'localhost', accept: 'text/event-stream', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET /stream HTTP/1.1\r\n${lines.join('')}\r\n`)
  await once(socket, 'readable')
}

async function end (how: string, { app, session }: Setup): Promise<void> {
  if (how === 'DELETE') await app.inject({ method: 'DELETE', url: '/stream', headers: session })
  await app.close()
}

for (const how of ['app.close()', 'DELETE']) {
  t.test(`${how} does not wait for a reader that has stopped amid what was kept for it`, async (t) => {
    const setup = await open(t)
    for (let n = 0; n < MUCH; n++) void setup.puppet.party.say(MEGABYTE)
    await stall(t, setup.url, setup.session)
    await end(how, setup)
    t.pass('closed')
  })

  t.test(`${how} does not wait for a reader that has stopped amid a stream that has ended`, async (t) => {
    const setup = await open(t)
    const lastId = await setup.away()
    setup.answer()
    await stall(t, setup.url, { ...setup.session, 'last-event-id': lastId })
    await end(how, setup)
    t.pass('closed')
  })
}

for (const when of ['before', 'after']) {
  t.test(`a stream that ends ${when} a reader has stopped goes whole to the connection that takes over`, async (t) => {
    const { url, session, away, answer } = await open(t)
    const lastId = await away()
    if (when === 'before') answer()
    await stall(t, url, { ...session, 'last-event-id': lastId })
    if (when === 'after') answer()
    const resumed: Live = await live(t, `${url}/stream`, { headers: { ...session, 'last-event-id': lastId } })
    t.equal(await resumed.ended, 'whole')
    t.equal(resumed.said.length, MUCH)
    t.match(resumed.messages.at(-1), { id: 1, result: { ready: true } })
  })
}

t.test('stateless: nothing is kept of a call whose client has left', async (t) => {
  let called: WeakRef<object> | undefined
  const { puppet, url } = await startPuppet(t, { stream: { stateless: true, onRequest: async (request) => { called = new WeakRef(request) } } })
  const outgoing = request(`${url}/stream`, { method: 'POST', agent: false, headers: { 'content-type': 'application/json', accept: JSON_AND_STREAM } })
  outgoing.on('error', () => {}).end(JSON.stringify(call(1, 'x')))
  await until(() => puppet.parties.length > 0)
  await puppet.party.called(1)
  outgoing.destroy()
  await until(() => puppet.party.closed)
  puppet.parties.length = 0
  await until(() => {
    collectGarbage()
    return called?.deref() === undefined
  })
  t.pass('forgotten')
})

t.test('a shared child waits for a reader that takes what it is sent: all of a flood arrives', async (t) => {
  const { app, url } = await startProxy(t, { isolation: 'shared', maxQueuedBytes: 256 * 1024 })
  const session = await initialize(app)
  const count = 400
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'notifyMany', arguments: { count, bytes: 64 * 1024 }, _meta: { progressToken: 'p' } } }
  const flood = await live(t, `${url}/stream`, { method: 'POST', headers: session, body })
  const { response } = flood
  response.on('data', () => {
    // slower than the child, and never at rest
    response.pause()
    setTimeout(() => response.resume(), 2)
  })
  t.equal(await flood.ended, 'whole')
  const told = flood.messages.filter(({ method }) => method === 'notifications/progress').map(({ params }) => (params as { progress: number }).progress)
  t.strictSame(told, Array.from({ length: count }, (_, n) => n + 1))
})
