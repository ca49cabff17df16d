import t, { type Test } from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { InMemoryEventStore, type EventStore } from '@mcp-proxy/endpoint'
import { Message, type JsonRpcMessage } from '@mcp-proxy/protocol'
import { call, initialize } from './helpers/http.js'
import { live, type Live } from './helpers/live.js'
import { startPuppet, type Puppet } from './helpers/puppet.js'
import { until } from './helpers/until.js'

/** A store as people write one for a database: every answer takes its time, later ones less than earlier ones. */
class SlowStore implements EventStore {
  readonly events: Array<{ id: string, streamId: string, json: string }> = []
  readonly forgotten: string[] = []

  async storeEvent (streamId: string, message: JsonRpcMessage): Promise<string> {
    // the more there is, the faster it gets: whoever does not wait for its turn overtakes
    await delay(Math.max(0, 8 - this.events.length))
    const id = `e${this.events.length}`
    this.events.push({ id, streamId, json: JSON.stringify(message) })
    return id
  }

  async replayEventsAfter (lastEventId: string, { send }: { send: (id: string, message: JsonRpcMessage) => Promise<void> }): Promise<string> {
    const at = this.events.findIndex(({ id }) => id === lastEventId)
    const streamId = this.events[at]?.streamId
    if (streamId === undefined) throw new Error('unknown event')
    for (const event of this.events.slice(at + 1)) if (event.streamId === streamId) await delay(1).then(() => send(event.id, JSON.parse(event.json) as JsonRpcMessage))
    return streamId
  }

  forgetStream (streamId: string): void {
    this.forgotten.push(streamId)
  }
}

async function open (t: Test, eventStore: EventStore | false, revision = '2025-11-25'): Promise<{ puppet: Puppet, ask: (id: number) => Promise<Live>, get: (headers?: Record<string, string>) => Promise<Live>, end: () => Promise<unknown> }> {
  const { app, puppet, url } = await startPuppet(t, { stream: { eventStore } })
  const session = await initialize(app, { revision })
  return {
    puppet,
    ask: async (id) => {
      const response = live(t, `${url}/stream`, { method: 'POST', headers: session, body: call(id, 'x') })
      await puppet.party.called(id)
      void puppet.party.say(`start ${id}`, id)
      return await response
    },
    get: async headers => await live(t, `${url}/stream`, { headers: { ...session, ...headers } }),
    end: async () => await app.inject({ method: 'DELETE', url: '/stream', headers: session }),
  }
}

t.test('a store that takes its time keeps the order, live and when resumed', async (t) => {
  const store = new SlowStore()
  const { puppet, ask, get, end } = await open(t, store)
  const answer = await ask(1)
  await answer.until('start 1')
  for (let n = 0; n < 20; n++) void puppet.party.say(n, 1)
  await answer.until('"data":5')
  answer.leave()
  await answer.ended
  void puppet.party.answer(1)
  const resumed = await get({ 'last-event-id': answer.lastId })
  t.equal(await resumed.ended, 'whole')
  t.strictSame([...answer.said, ...resumed.said], ['start 1', ...Array(20).keys()])
  t.match(resumed.messages.at(-1), { id: 1 })
  await end()
  await until(() => store.forgotten.length > 0)
  t.strictSame(new Set(store.forgotten), new Set(store.events.map(({ streamId }) => streamId)), 'a session takes its streams with it')
})

t.test('what is said while a client is brought up to date comes behind what it has missed, once', async (t) => {
  const { puppet, ask, get } = await open(t, new SlowStore())
  const answer = await ask(1)
  await answer.until('start 1')
  answer.leave()
  await answer.ended
  for (let n = 0; n < 10; n++) void puppet.party.say(n, 1)
  const resumed = await get({ 'last-event-id': answer.lastId })
  for (let n = 10; n < 20; n++) void puppet.party.say(n, 1)
  void puppet.party.answer(1)
  t.equal(await resumed.ended, 'whole')
  t.strictSame(resumed.said, [...Array(20).keys()])
  t.match(resumed.messages.at(-1), { id: 1 })
})

t.test('one store can serve several endpoints: nothing crosses', async (t) => {
  const store = new SlowStore()
  const [one, two] = [await open(t, store), await open(t, store)]
  const [first, second] = [await one.get(), await two.get()]
  void one.puppet.party.say('one')
  void two.puppet.party.say('two')
  await Promise.all([first.until('one'), second.until('two')])
  t.equal((await two.get({ 'last-event-id': first.lastId })).status, 400)
  t.strictSame([first.said, second.said], [['one'], ['two']])
})

const failing: Record<string, () => never | Promise<never>> = {
  throws: () => { throw new Error('disk full') },
  rejects: async () => { throw new Error('disk full') },
}
for (const [how, fail] of Object.entries(failing)) {
  t.test(`a store that ${how} loses resumption, no message`, async (t) => {
    const { puppet, ask, get, end } = await open(t, { storeEvent: fail, replayEventsAfter: fail, forgetStream: fail })
    const answer = await ask(1)
    for (const n of [1, 2, 3]) void puppet.party.say(n, 1)
    void puppet.party.answer(1, { n: 4 })
    t.equal(await answer.ended, 'whole')
    t.strictSame(answer.said, ['start 1', 1, 2, 3])
    t.match(answer.messages.at(-1), { id: 1, result: { n: 4 } })
    const stream = await get()
    void puppet.party.say('standalone')
    await stream.until('standalone')
    t.equal((await get({ 'last-event-id': 'e1' })).status, 400)
    await end()
    t.equal(await stream.ended, 'whole')
  })
}

t.test('eventStore: false sends no event ids; Last-Event-ID is refused, what is sent while away is lost', async (t) => {
  const { puppet, ask, get } = await open(t, false)
  const answer = await ask(1)
  void puppet.party.answer(1)
  await answer.ended
  t.strictSame(answer.said, ['start 1'])
  t.notMatch(answer.text, /^id:|^retry:/m)
  t.equal((await get({ 'last-event-id': 'x_1' })).status, 400)
  void puppet.party.say('lost')
  const stream = await get()
  void puppet.party.say('heard')
  await stream.until('heard')
  t.strictSame(stream.said, ['heard'])
})

async function replay (store: EventStore, after: string): Promise<unknown[]> {
  const found: unknown[] = []
  await store.replayEventsAfter(after, { send: async (_id, message) => { found.push(message.params?.['n']) } })
  return found
}
const event = (n: number, padding = 0): Message => Message.notification('notifications/x', { n, ...(padding > 0 && { padding: 'x'.repeat(padding) }) })

t.test('InMemoryEventStore: the oldest go first when there are too many', async (t) => {
  const store = new InMemoryEventStore({ maxEvents: 3 })
  const ids = [1, 2, 3, 4, 5].map(n => store.storeEvent('a', event(n)))
  t.equal(store.size, 3)
  t.strictSame(await replay(store, ids[0] ?? ''), [3, 4, 5], 'goes on with the oldest there is')
  t.strictSame(await replay(store, ids[3] ?? ''), [5])
  t.strictSame(await replay(store, ids[4] ?? ''), [])
})

t.test('InMemoryEventStore: the oldest go first when they are too large', async (t) => {
  const store = new InMemoryEventStore({ maxBytes: 3000 })
  const ids = [1, 2, 3, 4].map(n => store.storeEvent('a', event(n, 1000)))
  t.equal(store.size, 2)
  t.ok(store.bytes <= 3000)
  t.strictSame(await replay(store, ids[0] ?? ''), [3, 4])
  store.storeEvent('a', event(5, 5000))
  t.strictSame([store.size, store.bytes], [0, 0], 'one that is too large is not kept')
})

t.test('InMemoryEventStore: what is too old goes, also when nothing new comes', async (t) => {
  const clock = t.intercept(Date, 'now', { value: () => now })
  let now = 1_000
  const store = new InMemoryEventStore({ maxAge: 100 })
  const ids = [1, 2].map(n => store.storeEvent('a', event(n)))
  now = 1_100
  store.storeEvent('a', event(3))
  t.strictSame(await replay(store, ids[0] ?? ''), [2, 3])
  now = 1_101
  t.strictSame(await replay(store, ids[0] ?? ''), [3])
  t.equal(store.size, 1)
  clock.restore()
})

t.test('InMemoryEventStore: forgetStream frees that stream\'s, and events of other streams stay', async (t) => {
  const store = new InMemoryEventStore()
  const first = store.storeEvent('a', event(1))
  const other = store.storeEvent('b_c', event(2))
  store.storeEvent('b_c', event(3))
  const before = store.bytes
  store.forgetStream('a')
  store.forgetStream('never heard of')
  t.equal(store.size, 2)
  t.ok(store.bytes > 0 && store.bytes < before)
  t.strictSame(await replay(store, other), [3])
  t.strictSame(await replay(store, first), [])
  for (const id of ['', '_', 'a', 'a_99', 'a_x', '_1']) await t.rejects(replay(store, id), { message: 'unknown event id' }, id)
})

t.test('InMemoryEventStore does not keep alive what a message was cut out of', async (t) => {
  const store = new InMemoryEventStore()
  const large = Buffer.alloc(1024 * 1024, 0x20)
  large.write('{"jsonrpc":"2.0","method":"notifications/x","params":{"n":1}}')
  const message = Message.read(large.subarray(0, 100))
  const id = store.storeEvent('a', event(0))
  if (message !== undefined) store.storeEvent('a', message)
  large.fill(0)
  t.strictSame(await replay(store, id), [1], 'it is a copy')
})

t.test('what has changed is kept once for a client that does not listen, however often it changes', async (t) => {
  const store = new InMemoryEventStore()
  const { puppet, get } = await open(t, store)
  for (let n = 0; n < 100; n++) {
    void puppet.party.change('tools')
    void puppet.party.change('prompts')
  }
  // the start of the stream, and one of each
  t.equal(store.size, 3)
  const stream = await get({})
  await stream.until('prompts/list_changed')
  void puppet.party.change('tools')
  void puppet.party.change('tools')
  await stream.until(() => stream.text.split('tools/list_changed').length === 4)
  t.equal(store.size, 5, 'one who listens hears of each')
})
