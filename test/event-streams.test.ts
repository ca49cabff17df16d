// Event streams in an app of somebody: whatever its hooks make of the response, the events arrive, and the end does.
import t, { type Test } from 'tap'
import { connect as dialHttp2 } from 'node:http2'
import { Transform } from 'node:stream'
import { setImmediate as soon } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { mcpSse } from '@mcp-proxy/sse'
import { mcpStream } from '@mcp-proxy/stream'
import { JSON_AND_STREAM, call, initialize } from './helpers/http.js'
import { live, type Live } from './helpers/live.js'
import { Puppet } from './helpers/puppet.js'
import { until } from './helpers/until.js'

/** Beyond what is copied into a frame, and what a connection takes at once. */
const LARGE = 'x'.repeat(300_000)

interface Opened { app: FastifyInstance, puppet: Puppet, url: string }

async function start (t: Test, addHooks: (app: FastifyInstance) => unknown, server: FastifyServerOptions = {}): Promise<Opened> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await addHooks(app)
  const puppet = new Puppet()
  await app.register(mcpSse, { connect: puppet.connect, closeGrace: 0 })
  await app.register(mcpStream, { connect: puppet.connect, closeGrace: 0 })
  return { app, puppet, url: await app.listen({ port: 0, host: '127.0.0.1' }) }
}

/** Leaves bytes as they are, one event behind: what compresses does so. */
const through = (): Transform => new Transform({ transform: (chunk, _encoding, done) => { void soon().then(() => { done(null, chunk) }) } })

const HOOKS: Record<string, (app: FastifyInstance) => unknown> = {
  'without hooks': () => {},
  'with a hook that sets a header': app => app.addHook('onSend', (_request, reply, payload, done) => {
    void reply.header('x-hook', 'ran')
    done(null, payload)
  }),
  'with a hook that takes its time': app => app.addHook('onSend', async (_request, reply) => {
    await soon()
    await soon()
    void reply.header('x-hook', 'ran')
  }),
  'with a hook that puts a stream around': app => app.addHook('onSend', async (_request, reply, payload) => {
    if (typeof (payload as Transform | null)?.pipe !== 'function') return payload
    void reply.header('x-hook', 'ran')
    return (payload as Transform).pipe(through())
  }),
}

for (const [title, addHooks] of Object.entries(HOOKS)) {
  const ran = title === 'without hooks' ? undefined : 'ran'

  t.test(`${title}: GET streams and SSE`, async (t) => {
    const { app, puppet, url } = await start(t, addHooks)
    const session = await initialize(app)
    const { party } = puppet
    const streams: Live[] = []
    for (const open of [live(t, `${url}/stream`, { headers: session }), live(t, `${url}/sse`)]) streams.push(await open)
    const [get, sse] = streams as [Live, Live]
    t.strictSame(streams.map(({ status, type, response }) => [status, type, response.headers['x-hook']]), Array(2).fill([200, 'text/event-stream', ran]))
    await sse.until('endpoint')
    for (const [stream, at] of [[get, party], [sse, puppet.party]] as const) {
      for (const said of ['one', LARGE, 'two']) void at.say(said)
      await stream.until(() => stream.said.length === 3)
      t.ok(stream.said.every((said, n) => said === ['one', LARGE, 'two'][n]))
    }
    // a client that leaves ends its session
    sse.leave()
    await until(() => puppet.party.closed)
    t.notOk(party.closed)
    const closed = app.close()
    t.equal(await get.ended, 'whole')
    await closed
  })

  t.test(`${title}: the answer to a POST`, async (t) => {
    const { app, puppet, url } = await start(t, addHooks)
    const session = await initialize(app)
    const { party } = puppet
    const opened = live(t, `${url}/stream`, { method: 'POST', headers: session, body: call(1, 'x') })
    await party.called(1)
    void party.say('before', 1)
    void party.say(LARGE, 1)
    void party.answer(1, { done: true })
    const stream = await opened
    t.equal(stream.response.headers['x-hook'], ran)
    t.equal(await stream.ended, 'whole')
    t.ok(stream.said[0] === 'before' && stream.said[1] === LARGE)
    t.match(stream.messages.at(-1), { id: 1, result: { done: true } })
  })
}

t.test('a hook that puts another body in the place of the events', async (t) => {
  const { puppet, url } = await start(t, app => app.addHook('onSend', async (request, _reply, payload) => request.url === '/sse' ? 'nothing here' : payload))
  const stream = await live(t, `${url}/sse`)
  t.equal(await stream.ended, 'whole')
  t.equal(stream.text, 'nothing here')
  await until(() => puppet.party.closed)
})

t.test('a hook that sets what no header may hold: an error, and the session has ended', async (t) => {
  const { puppet, url } = await start(t, app => app.addHook('onSend', async (_request, reply, payload) => {
    if (reply.statusCode === 200) void reply.header('x-hook', 'a\nb')
    return payload
  }))
  const stream = await live(t, `${url}/sse`)
  t.equal(stream.status, 500)
  t.equal(await stream.ended, 'whole')
  await until(() => puppet.party.closed)
})

t.test('what an app logs of streams that end: the requests, and no error', async (t) => {
  const lines: Array<Record<string, unknown>> = []
  const { app, puppet, url } = await start(t, () => {}, { logger: { stream: { write: (line: string) => { lines.push(JSON.parse(line) as Record<string, unknown>) } } } })
  const left = await live(t, `${url}/sse`)
  await left.until('endpoint')
  left.leave()
  const stays = await live(t, `${url}/sse`)
  await stays.until('endpoint')
  const session = await initialize(app)
  const asked = [1, 2].map(async (id) => {
    const opened = live(t, `${url}/stream`, { method: 'POST', headers: session, body: call(id, 'x') })
    await puppet.party.called(id)
    void puppet.party.say('before', id)
    return await opened
  })
  const [answered, cut] = await Promise.all(asked) as [Live, Live]
  void puppet.party.answer(1)
  t.equal(await answered.ended, 'whole')
  cut.leave()
  await cut.ended
  await app.close()
  t.equal(await stays.ended, 'whole')
  t.strictSame(lines.filter(({ level }) => Number(level) > 30), [])
  const [came, completed] = ['incoming request', 'request completed'].map(text => lines.filter(({ msg }) => msg === text).length) as [number, number]
  t.equal(completed, came - 2, 'all but those whose client has left')
  t.strictSame(lines.filter(({ msg }) => !/^(incoming request|request completed|Server listening at .*)$/.test(String(msg))), [])
})

t.test('over HTTP/2', async (t) => {
  const { puppet, url } = await start(t, () => {}, { http2: true } as FastifyServerOptions)
  const connection = dialHttp2(url)
  t.teardown(() => { connection.destroy() })
  const stream = connection.request({ ':path': '/sse', accept: 'text/event-stream' })
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  await until(() => text.includes('endpoint'))
  void puppet.party.say(LARGE)
  void puppet.party.say('last')
  await until(() => text.includes('last'))
  t.ok(text.includes(LARGE))
  stream.close()
  await until(() => puppet.party.closed)
  const post = connection.request({ ':method': 'POST', ':path': '/stream', accept: JSON_AND_STREAM, 'content-type': 'application/json' })
  post.end(JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'h2', version: '1' } } }))
  let answer = ''
  for await (const chunk of post.setEncoding('utf8')) answer += String(chunk)
  t.match(JSON.parse(answer), { id: 0, result: { protocolVersion: '2025-11-25' } })
})
