import t from 'tap'
import { IntroducedServers, Message, modernOverLegacy, type Connect, type Transport } from '@mcp-proxy/protocol'
import { FakeClient, until, type Json } from './fake-legacy.js'

/** A server that shakes hands and answers what it is asked, except `silent`; it asks for roots in `ask`. */
class Legacy {
  readonly heard: Message[] = []
  closed = false
  readonly #transport: Transport

  constructor (transport: Transport, refuses: boolean) {
    this.#transport = transport
    transport.onmessage = (message) => {
      this.heard.push(message)
      const { kind, method, rawId = '' } = message
      if (method === 'initialize') this.say(refuses ? { id: message.id, error: { code: -1, message: 'go away' } } : { id: message.id, result: { protocolVersion: '2025-11-25', capabilities: { resources: { subscribe: true } }, serverInfo: { name: 'l', version: '1' } } })
      else if (method === 'ask') this.say({ id: 's', method: 'roots/list' })
      else if (kind === 'request' && method !== 'silent') this.say({ id: JSON.parse(rawId) as string, result: { method } })
    }
  }

  say (message: Json): void {
    void this.#transport.send(Message.read(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }))) as Message)
  }

  lose (): void { void this.#transport.close() }
}

function setUp (options = {}, refuses = false): { servers: Legacy[], source: IntroducedServers, client: (principal?: string) => FakeClient } {
  const servers: Legacy[] = []
  const connect: Connect = (transport) => {
    const server = new Legacy(transport, refuses)
    servers.push(server)
    return { close: async () => { server.closed = true } }
  }
  const source = new IntroducedServers(connect, options)
  const modern = modernOverLegacy(source, { gather: 0 })
  return { servers, source, client: principal => new FakeClient(modern, principal) }
}

const answered = async (client: FakeClient, id: number): Promise<Json> => {
  await until(() => client.messages.some(message => message['id'] === id))
  return client.messages.find(message => message['id'] === id) as Json
}

t.test('a request is served by a server that was shaken hands with, and the next by the same', async (t) => {
  const { servers, client, source } = setUp()
  const one = client()
  one.ask(1, 'x/one')
  t.match(await answered(one, 1), { result: { method: 'x/one', resultType: 'complete' } })
  one.ask(2, 'x/two')
  t.match(await answered(one, 2), { result: { method: 'x/two' } })
  t.strictSame(servers.map(({ heard }) => heard.map(({ method }) => method)), [['initialize', 'notifications/initialized', 'x/one', 'x/two']])
  await source.close()
  t.ok(servers[0]?.closed)
})

t.test('one that has subscribed to something does not serve the next', async (t) => {
  const { servers, client } = setUp()
  const one = client()
  one.ask(1, 'subscriptions/listen', { notifications: { resourceSubscriptions: ['x://y'] } })
  await until(() => one.messages.some(({ method }) => method === 'notifications/subscriptions/acknowledged'))
  t.ok(servers[0]?.heard.some(({ method }) => method === 'resources/subscribe'))
  one.notify('notifications/cancelled', { requestId: 1 })
  await until(() => servers[0]?.closed === true)
  one.ask(2, 'x')
  await answered(one, 2)
  t.equal(servers.length, 2)
})

t.test('users, and clients that can be asked something else, have servers of their own', async (t) => {
  const { servers, client } = setUp()
  for (const [index, principal] of ['ann', 'bob', 'ann'].entries()) {
    const each = client(principal)
    each.ask(index, 'x')
    await answered(each, index)
  }
  t.equal(servers.length, 2)
  const able = client('ann')
  able.ask(9, 'tools/call', { name: 'x' }, { capabilities: { roots: {} } })
  await answered(able, 9)
  t.equal(servers.length, 3)
  t.match(servers[2]?.heard[0]?.params, { capabilities: { roots: {} } })
})

t.test('a server is not lent again that still works, has asked its client, or has gone', async (t) => {
  const { servers, client } = setUp()
  const one = client()
  one.ask(1, 'silent')
  await until(() => servers[0]?.heard.length === 3)
  one.notify('notifications/cancelled', { requestId: 1 })
  await until(() => servers[0]?.closed === true)
  one.ask(2, 'x')
  await answered(one, 2)
  servers[1]?.lose()
  one.ask(3, 'x')
  await answered(one, 3)
  t.equal(servers.length, 3)
})

t.test('at the end of a time nobody is kept, and never more than so many', async (t) => {
  const { servers, client } = setUp({ idleTimeout: 1, maxIdle: 1 })
  const one = client()
  for (const id of [1, 2, 3]) one.ask(id, 'x')
  await Promise.all([1, 2, 3].map(id => answered(one, id)))
  await until(() => servers.length === 3 && servers.every(({ closed }) => closed))
  t.pass()
})

t.test('a server that refuses, says nothing, or goes away gives an error', async (t) => {
  const refused = setUp({}, true).client()
  refused.ask(1, 'x')
  t.match(await answered(refused, 1), { error: { data: { code: 'MCP_ERR_CHILD_HANDSHAKE' }, message: /go away/ } })
  const source = new IntroducedServers(() => ({ close: async () => {} }), { startTimeout: 5 })
  const silent = new FakeClient(modernOverLegacy(source))
  silent.ask(1, 'x')
  t.match(await answered(silent, 1), { error: { message: /within 5 ms/ } })
  const { servers, client } = setUp()
  const one = client()
  one.ask(1, 'silent')
  await until(() => servers[0]?.heard.length === 3)
  servers[0]?.lose()
  t.match(await answered(one, 1), { error: { code: Number } })
})
