import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { buildProxy, startProxy } from './helpers/app.js'
import { answerOf, call, initialize, post } from './helpers/http.js'

const INITIALIZE = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 't', version: '1' } } }

t.test('request: a command that fails is left alone after a few tries, also when nobody calls', async (t) => {
  const app = await buildProxy(t, { isolation: 'request', env: { MCP_CHILD_EXIT: '1' }, restart: { delay: 1, maxDelay: 2, maxFailures: 3, coolDown: 60_000 } })
  let spawned = 0
  app.mcpBridge.events.on('spawn', () => { spawned++ })
  const statuses: number[] = []
  for (let n = 0; n < 20 && !statuses.includes(503); n++) statuses.push((await post(app, INITIALIZE)).statusCode)
  t.ok(statuses.includes(503), statuses.join())
  t.match((await post(app, INITIALIZE)).json(), { error: { data: { code: 'MCP_ERR_CHILD_UNAVAILABLE' } } })
  const before = spawned
  // as many turns as a thousand starts would have taken without the breaker
  for (let n = 0; n < 20; n++) await post(app, INITIALIZE)
  t.equal(spawned, before)
})

t.test('request: a call that waited in vain takes no child with it', async (t) => {
  const app = await buildProxy(t, { isolation: 'request', maxChildren: 1, queueTimeout: 50, warm: { size: 1, recycleAfter: 100 }, closeGrace: 0 })
  const session = await initialize(app)
  const first = post(app, call('a', 'sleep', { ms: 300 }), session)
  const refused = await post(app, call('b', 'echo', { text: 'x' }), session)
  t.equal(refused.statusCode, 503)
  t.match(answerOf(await first), { result: { content: [{ text: 'slept' }] } })
  for (let n = 0; n < 5; n++) t.match(answerOf(await post(app, call(n, 'echo', { text: 'again' }), session)), { result: { content: [{ text: 'again' }] } })
})

t.test('request: a child whose call was cancelled serves nobody else', async (t) => {
  const app = await buildProxy(t, { isolation: 'request', maxChildren: 3, warm: { size: 1, recycleAfter: 100 }, closeGrace: 0 })
  const session = await initialize(app)
  const [{ pid }] = await Promise.all([
    once(app.mcpBridge.events, 'exit').then(([details]) => details as { pid: number }),
    (async () => {
      const open = post(app, call('n', 'never'), session)
      while (!app.mcpBridge.status().children.some(({ calls }) => calls === 1)) await new Promise(resolve => setImmediate(resolve))
      await post(app, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'n' } }, session)
      await open
    })(),
  ])
  t.not((answerOf(await post(app, call(1, 'pid'), session))?.['result'] as { content: Array<{ text: string }> }).content[0]?.text, String(pid))
})

t.test('a function of the app that throws fails that client, and nothing stays open', async (t) => {
  const app = await buildProxy(t, { isolation: () => { throw new Error('no such team') } })
  const answer = await post(app, INITIALIZE)
  t.equal(answer.statusCode, 502)
  t.match(answer.json(), { id: 1, error: { data: { code: 'MCP_ERR_CHILD_START' } } })
  t.notMatch(answer.body, /no such team/)
})

t.test('a batch of very many messages is refused before each is looked at', async (t) => {
  const app = await buildProxy(t)
  const body = JSON.stringify(Array.from({ length: 1001 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'ping' })))
  const answer = await post(app, body)
  t.equal(answer.statusCode, 400)
  t.match(answer.json(), { error: { code: -32600, message: /1001/ } })
})

t.test('a large answer reaches a reader that takes its time, whole', async (t) => {
  const { app, url } = await startProxy(t, { closeGrace: 0 })
  const session = await initialize(app)
  const bytes = 12_000_000
  const body = JSON.stringify(call(1, 'big', { bytes }))
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const headers = { host: '127.0.0.1', 'content-type': 'application/json', accept: 'text/event-stream', connection: 'close', 'content-length': String(body.length), ...session }
  socket.write(`POST /stream HTTP/1.1\r\n${Object.entries(headers).map(pair => pair.join(': ')).join('\r\n')}\r\n\r\n${body}`)
  let received = 0
  let tail = ''
  for await (const chunk of socket) {
    received += (chunk as Buffer).length
    tail = (tail + (chunk as Buffer).toString('latin1')).slice(-200)
    // slower than it comes
    await new Promise(resolve => setImmediate(resolve))
  }
  t.ok(received > bytes, `${received} bytes`)
  t.match(tail, '"}]}}')
})
