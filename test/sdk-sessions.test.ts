import t from 'tap'
import { childrenOf, startProxy } from './helpers/app.js'
import { OVER, SDKS, SESSION_SDKS, isModern, openClient, type OpenClient } from './helpers/clients.js'
import { until } from './helpers/until.js'

const CHANGED = 'notifications/tools/list_changed'

/** Everybody is told, after all that was said before: what has not come by then does not come. */
async function fence (clients: readonly OpenClient[]): Promise<void> {
  const told = clients.map(({ wire }) => wire.notified(CHANGED).length)
  await clients[0]?.text('listChanged')
  await Promise.all(clients.map(({ wire }, index) => wire.until(() => wire.notified(CHANGED).length > (told[index] ?? 0))))
}

const updates = ({ wire }: OpenClient): unknown[] => wire.notified('notifications/resources/updated').map(({ params }) => params?.['uri'])
const logs = ({ wire }: OpenClient): unknown[] => wire.notified('notifications/message').map(({ params }) => params?.['data'])

t.test('what changes on a shared child is told to every session of every transport, once', async (t) => {
  const { url } = await startProxy(t)
  const clients = await Promise.all(OVER.flatMap(over => SDKS.filter(sdk => !isModern(sdk, over)).map(sdk => openClient(t, over, url, { sdk }))))
  await fence(clients)
  await clients[0]?.text('unknownNotification')
  await fence(clients)
  for (const { wire } of clients) {
    t.equal(wire.notified(CHANGED).length, 2)
    t.strictSame(wire.notified('notifications/x/unheard-of').map(({ params }) => params), [{ n: 1 }])
  }
})

for (const over of OVER) {
  t.test(`${over}: on a shared child only subscribers hear of a resource`, async (t) => {
    const { url } = await startProxy(t)
    const clients = await Promise.all([openClient(t, over, url), openClient(t, over, url, { sdk: 'v2' }), openClient(t, over, url)] as const)
    const [ann, bob, cleo] = clients
    await ann.sdk.subscribeResource({ uri: 'test://both' })
    await bob.sdk.subscribeResource({ uri: 'test://both' })
    await bob.sdk.subscribeResource({ uri: 'test://bob' })
    for (const uri of ['test://both', 'test://bob', 'test://nobody', 'test://both/part']) await cleo.text('update', { uri })
    await fence(clients)
    t.strictSame(clients.map(updates), [['test://both', 'test://both/part'], ['test://both', 'test://bob', 'test://both/part'], []])

    await ann.sdk.unsubscribeResource({ uri: 'test://both' })
    await cleo.text('update', { uri: 'test://both' })
    await fence(clients)
    t.equal(updates(ann).length, 2, 'no longer told')
    t.equal(updates(bob).length, 4, 'still told: the server was not unsubscribed for both')
  })

  t.test(`${over}: on a shared child each session has its own log level`, async (t) => {
    const { app, url } = await startProxy(t)
    const clients = await Promise.all([1, 2, 3].map(() => openClient(t, over, url)))
    const [verbose, quiet, unset] = clients as [OpenClient, OpenClient, OpenClient]
    await verbose.sdk.setLoggingLevel('debug')
    await quiet.sdk.setLoggingLevel('error')
    for (const level of ['debug', 'info', 'error', 'emergency']) await unset.text('log', { level, data: level })
    await fence(clients)
    t.strictSame(logs(verbose), ['debug', 'info', 'error', 'emergency'])
    t.strictSame(logs(quiet), ['error', 'emergency'])
    t.strictSame(logs(unset), ['debug', 'info', 'error', 'emergency'])
    const told = (): string[] => childrenOf(app).flatMap(({ stderr }) => stderr)
    await until(() => told().length === 2)
    t.strictSame(told(), ['logging/setLevel debug', 'logging/setLevel debug'], 'the child is asked for the most verbose')
  })

  t.test(`${over}: a log line never reaches another principal`, async (t) => {
    const as = (user: string): { headers: Record<string, string> } => ({ headers: { 'x-user-id': user } })
    for (const [isolation, heard] of [['shared', [[], [], []]], ['principal', [['secret'], ['secret'], []]]] as const) {
      const { url } = await startProxy(t, { userId: ['ann', 'bob'], isolation })
      const ann = await openClient(t, over, url, as('ann'))
      const annToo = await openClient(t, over, url, as('ann'))
      const bob = await openClient(t, over, url, as('bob'))
      await ann.text('log', { data: 'secret' })
      await Promise.all([fence([ann, annToo]), fence([bob])])
      t.strictSame([ann, annToo, bob].map(logs), heard, isolation)
    }
  })

  t.test(`${over}: in session isolation each client is asked by its own child`, async (t) => {
    const { app, url } = await startProxy(t, { isolation: 'session' })
    const sampling = { method: 'sampling/createMessage', params: { messages: [{ role: 'user', content: { type: 'text', text: 'who?' } }], maxTokens: 1 } }
    const elicitation = { method: 'elicitation/create', params: { message: 'who?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } } }
    const names = ['one', 'two', 'three', 'four', 'five', 'six']
    const clients = await Promise.all(names.map((name, index) => openClient(t, over, url, {
      sdk: SESSION_SDKS[index % SESSION_SDKS.length] ?? 'v1',
      capabilities: { sampling: {}, elicitation: { form: {} }, roots: {} },
      answers: { sample: () => name, elicit: () => ({ name }), roots: () => [{ uri: `file:///${name}`, name }] },
    })))
    const ask = async (what: object): Promise<unknown[]> => (await Promise.all(clients.map(client => client.text('ask', { ...what })))).map(text => JSON.parse(text) as unknown)
    t.match(await ask(sampling), names.map(name => ({ content: { text: name } })))
    t.match(await ask(elicitation), names.map(name => ({ action: 'accept', content: { name } })))
    t.match(await ask({ method: 'roots/list' }), names.map(name => ({ roots: [{ name }] })))
    t.match(await ask({ method: 'vendor/unheard-of' }), names.map(() => ({ code: -32601 })), 'what a client cannot do it refuses itself')
    // all at once: nothing tells which call a question is about, and it still has to come
    const all = await Promise.all([ask(sampling), ask(elicitation), ask({ method: 'roots/list' })])
    t.match(all, [names.map(name => ({ content: { text: name } })), names.map(name => ({ content: { name } })), names.map(name => ({ roots: [{ name }] }))])
    t.ok(clients.every(({ wire }) => wire.asked.length === 7), 'each was asked its own questions')
    t.equal(new Set(childrenOf(app).filter(({ scope }) => scope === 'session').map(({ pid }) => pid)).size, names.length)
  })

  t.test(`${over}: a shared child gets no answer that could be another client's`, async (t) => {
    const { url } = await startProxy(t, { isolation: 'shared' })
    const capabilities = { roots: {} }
    const answers = { roots: () => [] }
    const client = await openClient(t, over, url, { capabilities, answers })
    const other = await openClient(t, over, url, { sdk: 'v2', capabilities, answers })
    t.match(JSON.parse(await client.text('ask', { method: 'roots/list' })), { code: -32601, message: /isolation/ })
    t.strictSame(JSON.parse(await client.text('ask', { method: 'ping' })), {}, 'the proxy is there')
    t.strictSame([...client.wire.asked, ...other.wire.asked], [])
    t.strictSame(JSON.parse(await client.text('initialize')), { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'mcp-proxy', version: '0.1.0' } }, 'and was promised none')
  })
}
