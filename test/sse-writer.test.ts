// What docs/sse-writer.md says about fastify-sse-v2, tried on the plugin itself. A test that fails here means that it has
// learned something, and that the writer of event streams may be its job again.
import t from 'tap'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { FastifySSEPlugin } from 'fastify-sse-v2'
import { serializeSSEEvent } from 'fastify-sse-v2/lib/sse.js'
import { SseStream, Ticker } from '@mcp-proxy/endpoint'
import type { Teardown } from './helpers/app.js'
import { events } from './helpers/http.js'

interface Answer { body: string, headers: Record<string, unknown> }

/** The whole response of a route. */
async function answer (t: Teardown, register: (app: FastifyInstance) => unknown, respond: (reply: FastifyReply) => unknown): Promise<Answer> {
  const app = Fastify()
  t.teardown(() => app.close())
  await register(app)
  app.addHook('onSend', async (_request, reply) => { void reply.header('x-app', 'was here') })
  app.get('/', (_request, reply) => { void respond(reply) })
  return await app.inject('/')
}

const theirs = async (t: Teardown, source: AsyncIterable<{ id?: string, data: string }>): Promise<Answer> =>
  await answer(t, async app => await app.register(FastifySSEPlugin), reply => reply.sse(source))

async function ours (t: Teardown, ...written: Array<{ id?: string, data: string | Buffer }>): Promise<Answer> {
  return await answer(t, () => {}, (reply) => {
    const stream = new SseStream({ maxQueuedBytes: 1_000_000, ticker: new Ticker(0), onclose: () => {} })
    stream.open(reply)
    for (const event of written) void stream.write(event)
    void stream.end()
  })
}

async function * once <T> (value: T): AsyncGenerator<T> {
  yield value
}

t.test('an event with an id and empty data: fastify-sse-v2 loses the data line, our writer sends it', async (t) => {
  const event = { id: 'e1', data: '' }
  const sent = await theirs(t, once(event))
  t.match(sent.body, /^id: ?e1$/m)
  t.notMatch(sent.body, /^data:/m)
  t.match((await ours(t, event)).body, /^id: e1\ndata: \n\n/m)
})

t.test('onSend hooks of the app: fastify-sse-v2 takes the reply away from them, our writer does not', async (t) => {
  const event = { data: 'x' }
  t.notOk('x-app' in (await theirs(t, once(event))).headers)
  t.equal((await ours(t, event)).headers['x-app'], 'was here')
})

t.test('messages that are bytes: fastify-sse-v2 takes strings only, our writer sends the bytes', async (t) => {
  const bytes = Buffer.from('{"n":12345678901234567890,"text":"日本語"}')
  // called by itself: on a stream it is a rejection that nobody handles, which ends the process
  t.throws(() => serializeSSEEvent({ data: bytes as unknown as string }), /split/)
  t.strictSame(events((await ours(t, { data: bytes })).body).map(({ data }) => data), [String(bytes)])
})
