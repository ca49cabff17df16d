import { Client as ClientV2, InMemoryTransport as InMemoryV2 } from '@modelcontextprotocol/client'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import t from 'tap'
import { Message, type Transport } from '@mcp-proxy/protocol'
import { tapTransport, type TransportEvent } from 'mcp-proxy'
import { serverV1, serverV2 } from './helpers/servers.js'

const INFO = { name: 'c', version: '1' }

/** What was heard, in short. */
function names (events: readonly TransportEvent[]): string[] {
  return events.map((event) => {
    const { type, message } = event
    return message === undefined ? type : `${type} ${message.method ?? `answer ${message.id}`}`
  })
}

const EXPECTED = [
  'start', 'send initialize', 'onmessage answer 0', 'send notifications/initialized', 'send tools/call', 'onmessage answer 1', 'close', 'onclose',
]

for (const sdk of ['v1', 'v2'] as const) {
  t.test(`a transport of SDK ${sdk}: everything is heard once, in order, and nothing changes`, async (t) => {
    for (const listens of [true, false]) {
      const events: TransportEvent[] = []
      const listener = (event: TransportEvent): void => {
        events.push(event)
        if (!listens) throw new Error('a listener that fails')
      }
      const [client, answer] = sdk === 'v1' ? await callV1(listener) : await callV2(listener)
      t.match(answer, { content: [{ text: 'Hello, Ada!' }] })
      await client.close()
      // the ends of an in-memory pair close each other, so that each is closed twice
      t.strictSame([...new Set(names(events))], EXPECTED)
    }
  })
}

async function callV1 (listener: (event: TransportEvent) => void): Promise<[{ close: () => Promise<void> }, unknown]> {
  const [a, b] = InMemoryTransport.createLinkedPair()
  await serverV1().connect(b)
  const client = new Client(INFO)
  await client.connect(tapTransport(a, listener))
  return [client, await client.callTool({ name: 'greet', arguments: { name: 'Ada' } })]
}

async function callV2 (listener: (event: TransportEvent) => void): Promise<[{ close: () => Promise<void> }, unknown]> {
  const [a, b] = InMemoryV2.createLinkedPair()
  await serverV2().connect(b)
  const client = new ClientV2(INFO)
  await client.connect(tapTransport(a, listener))
  return [client, await client.callTool({ name: 'greet', arguments: { name: 'Ada' } })]
}

t.test('a listener may take its argument apart, in TypeScript too', async (t) => {
  const methods: Array<string | undefined> = []
  const [a, b] = InMemoryTransport.createLinkedPair()
  await serverV1().connect(b)
  const client = new Client(INFO)
  await client.connect(tapTransport(a, ({ type, message }) => {
    if (type === 'send') methods.push(message.method)
  }))
  await client.close()
  t.strictSame(methods, ['initialize', 'notifications/initialized'])
})

t.test('handlers that were there before the transport was connected are called, and heard of once', async (t) => {
  const events: TransportEvent[] = []
  const [a, b] = InMemoryTransport.createLinkedPair()
  const before: unknown[] = []
  a.onmessage = (message) => { before.push(message) }
  a.onclose = () => { before.push('closed') }
  await serverV1().connect(b)
  const client = new Client(INFO)
  await client.connect(tapTransport(a, event => { events.push(event) }))
  await client.close()
  t.strictSame([...new Set(before.map(item => typeof item))], ['object', 'string'])
  t.strictSame(names(events).slice(0, 5), ['start', 'send initialize', 'onmessage answer 0', 'send notifications/initialized', 'close'])
})

t.test('a transport of this project: results, promises and `this` stay what they were', async (t) => {
  class Ours implements Transport {
    #sent: Message[] = []
    onmessage: ((message: Message) => void) | undefined
    readonly full = Promise.resolve()
    send (message: Message): void | Promise<void> {
      this.#sent.push(message)
      return this.#sent.length > 1 ? this.full : undefined
    }

    close (): void { this.#sent = [] }
    get sent (): number { return this.#sent.length }
  }
  const events: TransportEvent[] = []
  const transport = new Ours()
  t.equal(tapTransport(transport, event => { events.push(event) }), transport)
  const message = Message.notification('notifications/x')
  t.equal(transport.send(message), undefined, 'nothing is returned where nothing was')
  t.equal(transport.send(message), transport.full, 'and the same promise')
  transport.onmessage?.(message)
  t.equal(events.length, 2, 'nobody was there to hear it')
  transport.onmessage = (heard) => { t.equal(heard, message) }
  transport.onmessage(message)
  t.equal(transport.sent, 2)
  transport.close()
  t.equal(transport.sent, 0)
  t.strictSame(names(events), ['send notifications/x', 'send notifications/x', 'onmessage notifications/x', 'close'])
  t.notOk('start' in transport, 'nothing is added')
})

t.test('a transport that keeps its handlers itself, and errors of all kinds', async (t) => {
  class Keeper {
    #handler: ((error: Error) => void) | undefined
    get onerror (): ((error: Error) => void) | undefined { return this.#handler }
    set onerror (handler: ((error: Error) => void) | undefined) { this.#handler = handler }
    fail (error: Error): void { this.#handler?.(error) }
    async send (_message: object): Promise<void> { throw new Error('not sent') }
  }
  const events: TransportEvent[] = []
  const keeper = tapTransport(new Keeper(), async (event) => {
    events.push(event)
    throw new Error('a listener that fails later')
  })
  const heard: Error[] = []
  keeper.onerror = error => heard.push(error)
  const error = new Error('broken')
  keeper.fail(error)
  t.strictSame(heard, [error])
  t.strictSame(events, [{ type: 'onerror', error }])
  await t.rejects(keeper.send({ method: 'x' }), { message: 'not sent' })
  keeper.onerror = () => { throw error }
  t.throws(() => keeper.fail(new Error('x')), error, 'what a handler throws is thrown')
  keeper.onerror = undefined
  keeper.fail(error)
  t.equal(events.length, 3, 'without a handler nothing is called')
})
