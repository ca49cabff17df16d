import t from 'tap'
import { childrenOf, startProxy } from './helpers/app.js'
import { OVER, SDKS, SESSION_SDKS, openClient, type Declared } from './helpers/clients.js'
import { startRelay } from './helpers/relay.js'
import { until } from './helpers/until.js'

for (const sdk of SESSION_SDKS) {
  t.test(`${sdk}: a client whose connections break during a call gets the rest by Last-Event-ID`, async (t) => {
    const { url } = await startProxy(t)
    const relay = await startRelay(t, url)
    const [client, other] = await Promise.all([openClient(t, 'stream', relay.url, { sdk }), openClient(t, 'stream', url)])
    const answer = client.text('gated', {}, { onprogress: () => {} })
    await client.wire.until(({ method }) => method === 'notifications/progress')
    relay.cut()
    t.equal(await other.text('open'), 'opened')
    await other.text('listChanged')
    t.equal(client.wire.notified('notifications/progress').length, 1, 'nothing came while the line was down')
    relay.restore()
    t.equal(await answer, 'through')
    await client.wire.until(({ method }) => method === 'notifications/tools/list_changed')
    t.strictSame(client.wire.notified('notifications/progress').map(({ params }) => params?.['progress']), [1, 2, 3], 'nothing is lost, nothing comes twice')
    t.equal(client.wire.notified('notifications/tools/list_changed').length, 1)
    t.equal(await client.text('echo', { text: 'on' }), 'on', 'the session goes on')
  })

  t.test(`${sdk}: each time that a client has been away it is told of what has changed`, async (t) => {
    const { url } = await startProxy(t)
    const relay = await startRelay(t, url)
    const [client, other] = await Promise.all([openClient(t, 'stream', relay.url, { sdk }), openClient(t, 'stream', url)])
    const changes = (): number => client.wire.notified('notifications/tools/list_changed').length
    await other.text('listChanged')
    await client.wire.until(() => changes() === 1)
    for (let away = 1; away <= 3; away++) {
      relay.cut()
      await other.text('listChanged')
      relay.restore()
      await client.wire.until(() => changes() === away + 1)
    }
  })

  t.test(`${sdk}: a terminated session is gone, and its child with it`, async (t) => {
    const { app, url } = await startProxy(t)
    const client = await openClient(t, 'stream', url, { sdk, capabilities: { roots: {} } })
    await client.text('echo')
    const session = client.sessionId() ?? ''
    const own = (): unknown[] => childrenOf(app).filter(({ scope }) => scope !== 'spare')
    t.match(own(), [{ scope: 'session', state: 'ready' }])
    await client.terminate()
    for (const method of ['POST', 'GET', 'DELETE']) {
      const answer = await fetch(`${url}/stream`, {
        method,
        headers: { 'mcp-session-id': session, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
        ...(method === 'POST' && { body: '{"jsonrpc":"2.0","id":1,"method":"ping"}' }),
      })
      t.equal(answer.status, 404, method)
      await answer.text()
    }
    await until(() => own().length === 0)
  })
}

for (const sdk of SDKS) {
  t.test(`${sdk}: stateless mode serves clients that expect a session`, async (t) => {
    const { url } = await startProxy(t, { stream: { stateless: true } })
    const clients = await Promise.all([1, 2, 3].map(() => openClient(t, 'stream', url, { sdk })))
    t.strictSame(clients.map(client => client.sessionId()), [undefined, undefined, undefined])
    t.strictSame(await Promise.all(clients.map((client, index) => client.text('echo', { text: String(index) }))), ['0', '1', '2'])
    const [client] = clients as [typeof clients[number]]
    t.equal(await client.text('progress', { count: 20 }, { onprogress: () => {} }), 'done')
    t.equal(client.wire.notified('notifications/progress').length, 20)
    await t.rejects(client.call('rpcError', { code: -32099, data: { why: 1 } }), { code: -32099, data: { why: 1 } })
    t.match(JSON.parse(await client.text('ask', { method: 'roots/list' })), { code: -32601 })
    t.match(await client.sdk.listTools(), { tools: Array })
  })
}

for (const over of OVER) {
  t.test(`${over}: a client that leaves disturbs nobody`, async (t) => {
    const { url } = await startProxy(t, { isolation: 'shared' })
    const [leaver, reader, stayer] = await Promise.all([openClient(t, over, url), openClient(t, over, url, { sdk: 'v2' }), openClient(t, over, url)])
    const pending = stayer.text('gated', {}, { onprogress: () => {} })
    const lost = leaver.call('never', { label: 'left' }).catch(() => {})
    const torn = reader.call('notifyMany', { count: 3000, bytes: 1000 }, { onprogress: () => {} }).catch(() => {})
    await until(async () => await stayer.text('labels', { state: 'open' }) === '["left"]')
    await reader.wire.until(({ method }) => method === 'notifications/progress')
    // in the middle of a call, and in the middle of a stream
    await Promise.all([leaver.sdk.close(), reader.sdk.close(), lost, torn])
    // over stream a broken connection is no cancellation: the client may come back for the answer
    if (over === 'sse') await until(async () => await stayer.text('labels', { state: 'cancelled' }) === '["left"]')
    t.equal(await stayer.text('open'), 'opened')
    t.equal(await pending, 'through')
    t.strictSame(stayer.wire.notified('notifications/progress').map(({ params }) => params?.['progress']), [1, 2, 3])
    const another = await openClient(t, over, url)
    t.equal(await another.text('pid'), await stayer.text('pid'), 'the child is the same')
    // what was left open must not hold up the end of the app
    for (const { sessionId } of [leaver, reader]) await fetch(`${url}/stream`, { method: 'DELETE', headers: { 'mcp-session-id': sessionId() ?? '' } })
  })

  for (const [kind, capabilities] of [['shared', {}], ['private', { roots: { listChanged: true } }]] as ReadonlyArray<readonly [string, Declared]>) {
    t.test(`${over}: when a ${kind} child is killed its calls fail and the session goes on with another`, async (t) => {
      const { app, url } = await startProxy(t)
      const client = await openClient(t, over, url, { capabilities, answers: kind === 'private' ? { roots: () => [{ uri: 'file:///r', name: 'r' }] } : {} })
      const first = Number(await client.text('pid'))
      const introduced = await client.text('initialize')
      await client.sdk.setLoggingLevel('debug')
      await client.sdk.subscribeResource({ uri: 'test://kept' })
      const calls = [client.call('never', { label: 'a' }), client.call('gated', {}, { onprogress: () => {} })]
      await client.wire.until(({ method }) => method === 'notifications/progress')
      process.kill(first, 'SIGKILL')
      for (const outcome of await Promise.allSettled(calls)) t.match(outcome, { status: 'rejected', reason: { code: -32000, message: /SIGKILL/ } })
      const second = Number(await client.text('pid'))
      t.not(second, first)
      t.equal(await client.text('initialize'), introduced, 'the handshake was repeated as it was')
      if (kind === 'private') t.match(JSON.parse(await client.text('ask', { method: 'roots/list' })), { roots: [{ name: 'r' }] })
      const told = ['logging/setLevel debug', 'resources/subscribe test://kept']
      await until(() => childrenOf(app).some(({ stderr }) => told.every(line => stderr.includes(line))))
      await client.text('update', { uri: 'test://kept' })
      await client.wire.until(({ method }) => method === 'notifications/resources/updated')
      // twice in a row, this time from within
      await t.rejects(client.call('exit', { code: 7 }), { code: -32000, message: /exit code 7/ })
      t.equal(await client.text('echo', { text: 'again' }), 'again')
    })
  }
}

t.test('sse: an app that closes does not wait for calls of a client that leaves meanwhile', async (t) => {
  const { app, url } = await startProxy(t, { closeGrace: 3_600_000 })
  const client = await openClient(t, 'sse', url)
  const lost = client.call('never').catch(() => {})
  await until(async () => await client.text('labels', { state: 'open' }) !== '[]')
  const closed = app.close()
  await client.sdk.close()
  await closed
  await lost
  t.pass('closed')
})
