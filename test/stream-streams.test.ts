import t, { type Test } from 'tap'
import { setImmediate } from 'node:timers/promises'
import { call, initialize, messages, post, type Json } from './helpers/http.js'
import { live, type Live } from './helpers/live.js'
import { startPuppet, type Puppet, type PuppetOptions } from './helpers/puppet.js'
import { until } from './helpers/until.js'

interface Setup {
  puppet: Puppet
  session: Record<string, string>
  get: (headers?: Record<string, string>) => Promise<Live>
  /** Posts a call; its response comes once something was said. */
  ask: (id: string | number, headers?: Record<string, string>) => Promise<Live>
  send: (body: Json) => ReturnType<typeof post>
  end: () => Promise<unknown>
  /** The server has noticed that all connections have gone. */
  gone: () => Promise<void>
}

async function open (t: Test, options: PuppetOptions = {}, revision = '2025-11-25'): Promise<Setup> {
  const { app, puppet, url } = await startPuppet(t, options)
  const session = await initialize(app, { revision })
  return {
    puppet,
    session,
    get: async headers => await live(t, `${url}/stream`, { headers: { ...session, ...headers } }),
    ask: async (id, headers) => {
      const response = live(t, `${url}/stream`, { method: 'POST', headers: { ...session, ...headers }, body: call(id, 'x') })
      await puppet.party.called(typeof id === 'string' ? JSON.stringify(id) : id)
      return await response
    },
    send: async body => await post(app, body, session),
    end: async () => await app.inject({ method: 'DELETE', url: '/stream', headers: session }),
    gone: async () => {
      await until(async () => await new Promise(resolve => { app.server.getConnections((_err, count) => resolve(count === 0)) }))
      // they are counted off a few ticks before the streams on them are closed
      await setImmediate()
    },
  }
}

t.test('an answer that comes first is JSON', async (t) => {
  const { puppet, ask } = await open(t)
  const asked = ask(1)
  await puppet.party.called(1)
  void puppet.party.answer(1, { n: 1 })
  const answer = await asked
  await answer.ended
  t.match(answer.type, /^application\/json/)
  t.strictSame(JSON.parse(answer.text), { jsonrpc: '2.0', id: 1, result: { n: 1 } })
})

t.test('anything before the answer makes a stream, which ends with the answer', async (t) => {
  const { puppet, ask } = await open(t)
  for (const [id, precede] of [[1, () => puppet.party.say('log', 1)], [2, () => puppet.party.ask('"q"', 'sampling/createMessage')]] as const) {
    const asked = ask(id)
    await puppet.party.called(id)
    void precede()
    const answer = await asked
    t.equal(answer.status, 200)
    t.equal(answer.type, 'text/event-stream')
    t.equal(answer.response.headers['x-accel-buffering'], 'no')
    t.match(answer.response.headers['cache-control'], /no-cache/)
    void puppet.party.answer(id)
    t.equal(await answer.ended, 'whole')
    t.equal(answer.messages.length, 2)
    t.match(answer.messages[1], { id, result: {} })
  }
})

t.test('a call that is quiet for keepAliveInterval becomes a stream, kept alive by comments', async (t) => {
  const { puppet, ask, get } = await open(t, { stream: { keepAliveInterval: 10 } })
  // nothing was said: it is the silence that opens it
  const answer = await ask(1)
  t.equal(answer.type, 'text/event-stream')
  await answer.until(': keep-alive\n\n: keep-alive')
  void puppet.party.answer(1)
  t.equal(await answer.ended, 'whole')
  t.strictSame(answer.messages, [{ jsonrpc: '2.0', id: 1, result: {} }])
  await (await get()).until(': keep-alive\n\n: keep-alive')
})

t.test('from 2025-11-25 on a stream starts with an id, no data and a retry; before, it does not', async (t) => {
  for (const revision of ['2025-03-26', '2025-06-18', '2025-11-25']) {
    const { puppet, ask, get } = await open(t, { stream: { retryInterval: 77 } }, revision)
    const asked = ask(1)
    await puppet.party.called(1)
    void puppet.party.say('x', 1)
    const answer = await asked
    void puppet.party.answer(1)
    await answer.ended
    const stream = await get()
    void puppet.party.say('y')
    await stream.until('"y"')
    for (const { text, events } of [answer, stream]) {
      t.equal(events.every(({ id }) => id !== undefined), true, `${revision}: every event has an id`)
      t.equal(events.some(({ data }) => data === ''), revision === '2025-11-25', revision)
      t.equal(text.includes('retry: 77\ndata: \n\n'), revision === '2025-11-25', revision)
    }
  }
})

t.test('Last-Event-ID brings what came behind that event on that stream, also while away, and no other stream\'s', async (t) => {
  const { puppet, ask, get } = await open(t)
  const { party } = puppet
  const [askedOne, askedTwo] = [ask(1), ask(2)]
  await Promise.all([party.called(1), party.called(2)])
  void party.say('one a', 1)
  void party.say('two a', 2)
  const [one, two] = await Promise.all([askedOne, askedTwo])
  await Promise.all([one.until('one a'), two.until('two a')])
  one.leave()
  await one.ended
  void party.say('one b', 1)
  void party.say('two b', 2)
  const resumed = await get({ 'last-event-id': one.lastId })
  await resumed.until('one b')
  void party.say('one c', 1)
  void party.answer(1)
  t.equal(await resumed.ended, 'whole')
  t.strictSame(resumed.said, ['one b', 'one c'])
  t.match(resumed.messages.at(-1), { id: 1, result: {} })
  void party.answer(2)
  await two.ended
  t.strictSame(two.said, ['two a', 'two b'])
  const ids = [...one.events, ...resumed.events, ...two.events].map(({ id }) => id)
  t.equal(new Set(ids).size, ids.length, 'no id stands twice')
})

t.test('an answer that was ready while the client was away can be fetched, from any event of its stream', async (t) => {
  const { puppet, ask, get } = await open(t)
  const asked = ask('job')
  await puppet.party.called('"job"')
  void puppet.party.say('started', '"job"')
  const lost = await asked
  await lost.until('started')
  const [primed] = lost.events
  lost.leave()
  await lost.ended
  void puppet.party.answer('"job"', { ready: true })
  for (const [lastId, said] of [[lost.lastId, []], [primed?.id ?? '', ['started']]] as const) {
    const resumed = await get({ 'last-event-id': lastId })
    t.equal(await resumed.ended, 'whole')
    t.strictSame(resumed.said, said)
    t.match(resumed.messages.at(-1), { id: 'job', result: { ready: true } })
    const again = await get({ 'last-event-id': resumed.lastId })
    t.equal(again.status, 204, 'ended and seen to its end')
  }
})

t.test('an event of another session is refused', async (t) => {
  const { app, puppet, url } = await startPuppet(t)
  const [ann, bob] = [await initialize(app), await initialize(app)]
  const [party] = puppet.parties
  const stream = await live(t, `${url}/stream`, { headers: ann })
  void party?.say('for ann')
  await stream.until('for ann')
  const refused = await live(t, `${url}/stream`, { headers: { ...bob, 'last-event-id': stream.lastId } })
  await refused.ended
  t.equal(refused.status, 400)
  t.match(JSON.parse(refused.text), { error: { data: { code: 'MCP_ERR_EVENT_NOT_FOUND' } } })
})

t.test('what is said while nobody listens comes with the next GET, in order and once', async (t) => {
  const { puppet, get, gone } = await open(t)
  for (const n of [1, 2, 3]) void puppet.party.say(n)
  const first = await get()
  await first.until(() => first.said.length === 3)
  first.leave()
  await gone()
  void puppet.party.say(4)
  const second = await get()
  void puppet.party.say(5)
  await second.until('"data":5')
  t.strictSame(first.said, [1, 2, 3])
  t.strictSame(second.said, [4, 5])
})

t.test('a second GET takes over: the first ends whole, nothing between is lost', async (t) => {
  const { puppet, get } = await open(t)
  const streams = [await get()]
  let n = 0
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 10; i++) void puppet.party.say(n++)
    const next = get()
    for (let i = 0; i < 10; i++) void puppet.party.say(n++)
    streams.push(await next)
  }
  void puppet.party.say('end')
  await streams.at(-1)?.until('"end"')
  for (const stream of streams.slice(0, -1)) t.equal(await stream.ended, 'whole')
  t.strictSame(streams.flatMap(stream => stream.said), [...Array(n).keys(), 'end'])
})

t.test('maxConnectionAge ends connections, not streams: a client that comes back misses nothing', async (t) => {
  const { puppet, ask, get } = await open(t, { stream: { maxConnectionAge: 20, retryInterval: 5 } })
  const { party } = puppet
  const asked = ask(1)
  await party.called(1)
  void party.say(0, 1)
  let connection = await asked
  const heard: unknown[] = []
  for (let n = 1; n <= 5; n++) {
    t.equal(await connection.ended, 'whole')
    t.match(connection.text, /retry: 5\ndata: \n\n$/, 'told when to come back')
    heard.push(...connection.said)
    void party.say(n, 1)
    connection = await get({ 'last-event-id': connection.lastId })
  }
  void party.answer(1)
  await connection.ended
  t.strictSame([...heard, ...connection.said], [0, 1, 2, 3, 4, 5])
  t.match(connection.messages.at(-1), { id: 1 })
})

t.test('maxConnectionAge leaves clients of earlier revisions alone, which would not come back', async (t) => {
  const { puppet, get } = await open(t, { stream: { maxConnectionAge: 1, keepAliveInterval: 5 } }, '2025-06-18')
  const stream = await get()
  await stream.until(': keep-alive\n\n: keep-alive\n\n: keep-alive')
  void puppet.party.say('still here')
  await stream.until('still here')
  t.pass('open')
})

t.test('a request that the client cancels ends its exchange; its id is free, a late answer goes nowhere', async (t) => {
  const { puppet, ask, send } = await open(t)
  const cancel = (requestId: string | number): Json => ({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } })
  const quiet = ask(1)
  await puppet.party.called(1)
  t.equal((await send(cancel(1))).statusCode, 202)
  t.equal((await quiet).status, 204, 'nothing was said')

  const streamed = ask(2)
  await puppet.party.called(2)
  void puppet.party.say('first', 2)
  const answer = await streamed
  await answer.until('first')
  await send(cancel(2))
  t.equal(await answer.ended, 'whole')
  void puppet.party.answer(2)
  t.strictSame(messages(answer.text).filter(({ id }) => id === 2), [])
  const again = await send({ jsonrpc: '2.0', id: 2, method: 'ping' })
  t.strictSame(again.json(), { jsonrpc: '2.0', id: 2, result: {} })
})

t.test('a client that leaves its only stream keeps the session', async (t) => {
  const { get, send, end } = await open(t)
  const stream = await get()
  stream.leave()
  await stream.ended
  t.equal((await send({ jsonrpc: '2.0', id: 2, method: 'ping' })).statusCode, 200)
  const last = await get()
  await end()
  t.equal(await last.ended, 'whole', 'the end of the session ends its stream')
})
