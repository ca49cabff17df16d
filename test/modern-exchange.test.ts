import t from 'tap'
import { Message } from '@mcp-proxy/protocol'
import { events, initialize, messages, post } from './helpers/http.js'
import { live } from './helpers/live.js'
import { buildFake, headersOf, modern, startFake, type ModernRequest } from './helpers/modern.js'
import { until } from './helpers/until.js'

const CALL = modern('a', 'prompts/list')
const LISTEN = modern(7, 'subscriptions/listen', { notifications: { toolsListChanged: true } })

t.test('an answer that comes first is plain JSON, byte for byte', async (t) => {
  const { app, fake } = await buildFake(t)
  const written = '{"jsonrpc":"2.0","id":"a","result":{ "n":9007199254740993,"resultType":"complete" }}'
  fake.oncall = (call) => {
    const message = Message.read(Buffer.from(written))
    if (message !== undefined) call.send(message)
  }
  const answer = await post(app, CALL, headersOf(CALL))
  t.match(answer.headers['content-type'], /^application\/json/)
  t.equal(answer.body, written)
})

t.test('what comes before the answer opens a stream, without event ids, in order', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.oncall = (call) => {
    call.notify('notifications/progress', { progress: 1, progressToken: 1 })
    call.notify('notifications/message', { level: 'info', data: 'x' })
    call.answer()
    call.notify('notifications/message', { level: 'info', data: 'late' })
  }
  const answer = await post(app, CALL, headersOf(CALL))
  t.equal(answer.statusCode, 200)
  t.match(answer.headers, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
  t.strictSame(messages(answer.body).map(({ method, id }) => method ?? id), ['notifications/progress', 'notifications/message', 'a'])
  t.ok(events(answer.body).every(({ id, data }) => id === undefined && data !== ''))
})

t.test('an error in a stream comes with 200', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.oncall = (call) => {
    call.notify('notifications/message', { level: 'info', data: 'x' })
    call.fail(-32601)
  }
  const answer = await post(app, CALL, headersOf(CALL))
  t.equal(answer.statusCode, 200)
  t.match(messages(answer.body).at(-1), { id: 'a', error: { code: -32601 } })
})

t.test('a client that takes only JSON gets the answer without what comes before it', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.oncall = (call) => {
    call.notify('notifications/message', { level: 'info', data: 'x' })
    call.answer()
  }
  const answer = await post(app, CALL, headersOf(CALL, { accept: 'application/json' }))
  t.same(answer.json(), { jsonrpc: '2.0', id: 'a', result: { resultType: 'complete' } })
})

t.test('the server knows who asks, and hears the bytes of the request', async (t) => {
  const { app, fake } = await buildFake(t, { principal: request => String(request.headers['x-me']) })
  const body = JSON.stringify(CALL).replace('"params":{', '"params":{ "big":9007199254740993, ')
  t.equal((await post(app, body, headersOf(CALL, { 'x-me': 'ann' }))).statusCode, 200)
  t.match(fake.call.context, { id: String, principal: 'ann', era: 'modern', request: { headers: { 'x-me': 'ann' } } })
  t.equal(fake.call.request.bytes.toString(), body)
  t.equal(fake.call.closed, 1, 'closed when answered')
})

t.test('requests are on their own: the same id may be open twice', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.oncall = () => {}
  const answers = [post(app, CALL, headersOf(CALL)), post(app, CALL, headersOf(CALL))]
  await fake.called(2)
  fake.calls.forEach((call, index) => call.answer({ index }))
  t.same((await Promise.all(answers)).map(answer => answer.json<object>()), [0, 1].map(index => ({ jsonrpc: '2.0', id: 'a', result: { index } })))
})

t.test('a server that asks the client is refused: there is nobody to answer', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.oncall = (call) => {
    call.send(Message.request('"q"', 'elicitation/create', '{}'))
    call.answer()
  }
  const answer = await post(app, CALL, headersOf(CALL))
  t.same(answer.json(), { jsonrpc: '2.0', id: 'a', result: { resultType: 'complete' } }, 'and the client hears nothing of it')
  t.match(fake.call.heard[1]?.toJSON(), { id: 'q', error: { code: -32601 } })
})

t.test('a client that leaves cancels: before there was anything, and in a stream', async (t) => {
  const { fake, url } = await startFake(t)
  fake.oncall = () => {}
  const leaving = new AbortController()
  const left = t.rejects(fetch(url, { method: 'POST', signal: leaving.signal, headers: headersOf(CALL, { 'content-type': 'application/json' }), body: JSON.stringify(CALL) }))
  const first = await fake.called()
  t.equal(first.closed, 0)
  leaving.abort()
  await until(() => first.closed === 1)
  await left

  fake.oncall = call => call.notify('notifications/message', { level: 'info', data: 'x' })
  const stream = await live(t, url, { method: 'POST', headers: headersOf(CALL), body: CALL })
  await stream.until('notifications/message')
  t.equal(fake.call.closed, 0)
  stream.leave()
  await until(() => fake.call.closed === 1)
})

t.test('a server that hangs up leaves no call without an answer', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.oncall = call => call.hangUp()
  const answer = await post(app, CALL, headersOf(CALL))
  t.equal(answer.statusCode, 503)
  t.match(answer.json(), { id: 'a', error: { code: -32603, data: { code: 'MCP_ERR_STOPPED' } } })
})

t.test('a server that hangs up at once is let go all the same', async (t) => {
  let closed = 0
  const { app } = await buildFake(t, {
    connect: (transport) => {
      void transport.close()
      return { close: async () => { closed++ } }
    },
  })
  t.equal((await post(app, CALL, headersOf(CALL))).statusCode, 503)
  t.equal(closed, 1)
})

t.test('a subscription: the acknowledgement opens the stream, keep-alives hold it, what belongs to it follows', async (t) => {
  const { fake, url } = await startFake(t, { keepAliveInterval: 10 })
  fake.oncall = call => call.notify('notifications/subscriptions/acknowledged', { notifications: { toolsListChanged: true } })
  const stream = await live(t, url, { method: 'POST', headers: headersOf(LISTEN), body: LISTEN })
  t.equal(stream.type, 'text/event-stream')
  await stream.until('acknowledged')
  await stream.until(': keep-alive')
  fake.call.notify('notifications/tools/list_changed')
  await stream.until('tools/list_changed')
  t.strictSame(stream.messages.map(({ method }) => method), ['notifications/subscriptions/acknowledged', 'notifications/tools/list_changed'])
  fake.call.answer()
  t.equal(await stream.ended, 'whole')
  t.match(stream.messages.at(-1), { id: 7, result: { resultType: 'complete' } })
})

t.test('a subscription that is refused is refused in JSON, with the status', async (t) => {
  const { app, fake } = await buildFake(t)
  fake.oncall = call => call.fail(-32601)
  const answer = await post(app, LISTEN, headersOf(LISTEN))
  t.equal(answer.statusCode, 404)
  t.match(answer.json(), { id: 7, error: { code: -32601 } })
})

for (const stateless of [false, true]) {
  t.test(`when the app closes, subscriptions end at once and gracefully, calls may finish${stateless ? '; without sessions' : ''}`, async (t) => {
    const { app, fake, url } = await startFake(t, { stateless, closeGrace: 60_000 })
    fake.oncall = (call) => { if (call.request.method === 'subscriptions/listen') call.notify('notifications/subscriptions/acknowledged') }
    const ids = ['"1"', '9007199254740993']
    const streams = await Promise.all(ids.map(async id => await live(t, url, { method: 'POST', headers: headersOf(LISTEN), body: JSON.stringify(LISTEN).replace('"id":7', `"id":${id}`) })))
    const call = post(app, CALL, headersOf(CALL))
    await fake.called(3)
    const closing = app.close()
    for (const [index, stream] of streams.entries()) {
      t.equal(await stream.ended, 'whole')
      t.equal(stream.events.at(-1)?.data, `{"jsonrpc":"2.0","id":${ids[index]},"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":${ids[index]}}}}`)
    }
    const open = fake.calls.find(({ request }) => request.method === CALL.method)
    t.equal(open?.closed, 0)
    open?.answer()
    t.equal((await call).statusCode, 200)
    await closing
    t.ok(fake.calls.every(({ closed }) => closed === 1))
  })
}

t.test('subscriptions do not wait for what legacy clients have open', async (t) => {
  const { app, fake, url } = await startFake(t, { closeGrace: 60_000 })
  fake.oncall = call => call.answer({ protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'fake', version: '1' } })
  const session = await initialize(app, { revision: '2025-11-25' })
  fake.oncall = call => call.notify('notifications/subscriptions/acknowledged')
  const legacy = post(app, { jsonrpc: '2.0', id: 5, method: 'prompts/list' }, session)
  const party = fake.calls[0]
  await until(() => party?.heard.some(({ method }) => method === 'prompts/list') === true)
  const stream = await live(t, url, { method: 'POST', headers: headersOf(LISTEN), body: LISTEN })
  const closing = app.close()
  t.equal(await stream.ended, 'whole')
  t.match(stream.messages.at(-1), { id: 7, result: { resultType: 'complete' } })
  party?.send(Message.result('5', '{}'))
  t.equal((await legacy).statusCode, 200)
  await closing
})

t.test('a legacy session and modern requests live on one path, also on several', async (t) => {
  const { app, fake } = await buildFake(t, { path: ['/stream', '/mcp'] })
  fake.oncall = call => call.answer({ protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'fake', version: '1' } })
  const session = await initialize(app, { revision: '2025-11-25', url: '/mcp' })
  t.ok(session['mcp-session-id'])
  for (const url of ['/stream', '/mcp']) {
    const request: ModernRequest = modern(1, 'server/discover')
    t.equal((await post(app, request, headersOf(request), url)).statusCode, 200)
  }
  t.strictSame(fake.calls.map(({ context }) => context.era), ['legacy', 'modern', 'modern'])
})
