import { once } from 'node:events'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t from 'tap'
import { DIAGNOSTICS_CHANNEL } from '@mcp-proxy/stdio-bridge'
import { buildProxy, startProxy } from './helpers/app.js'
import { answerOf, call, initialize, messages, post } from './helpers/http.js'

t.test('a child that was lost is replaced at once, and clients are told to look again', async (t) => {
  const { app, url } = await startProxy(t, { isolation: 'shared' })
  const session = await initialize(app)
  const stream = await fetch(`${url}/stream`, { headers: { ...session, accept: 'text/event-stream' } })
  const reader = (stream.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader()
  const again = once(app.mcpBridge.events, 'ready')
  t.match(answerOf(await post(app, call(1, 'exit'), session)), { id: 1, error: { code: -32000, data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  await again
  let seen = ''
  while (!seen.includes('list_changed')) seen += (await reader.read()).value ?? ''
  t.match(seen, /notifications\/tools\/list_changed/)
  t.match(answerOf(await post(app, call(2, 'echo', { text: 'back' }), session)), { result: { content: [{ text: 'back' }] } }, 'the session is valid')
  t.match(app.mcpBridge.status().children[0], { state: 'ready', losses: 1 })
  await reader.cancel()
})

t.test('a server that keeps dying is left alone for a while; calls get 503 with Retry-After', async (t) => {
  const app = await buildProxy(t, { isolation: 'shared', env: { MCP_CHILD_EXIT: '7' }, restart: { delay: 1, maxDelay: 2, maxFailures: 3, coolDown: 60_000 } })
  const opened = once(app.mcpBridge.events, 'breaker')
  const body = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 't', version: '1' } } }
  const answers: number[] = []
  for (let n = 0; n < 10 && !answers.includes(503); n++) answers.push((await post(app, body)).statusCode)
  t.match(await opened, [{ failures: 3, coolDown: 60_000 }])
  const refused = await post(app, body)
  t.equal(refused.statusCode, 503)
  t.match(refused.headers['retry-after'], /^\d+$/)
  t.match(refused.json(), { error: { data: { code: 'MCP_ERR_CHILD_UNAVAILABLE' } } })
  t.ok(answers.slice(0, -1).every(status => status === 502), `502 until then: ${answers.join()}`)
})

t.test('one that answered in between has not failed in a row', async (t) => {
  const app = await buildProxy(t, { isolation: 'shared', restart: { delay: 1, maxFailures: 2, coolDown: 60_000 } })
  const session = await initialize(app)
  for (let n = 0; n < 5; n++) {
    await post(app, call(`x${n}`, 'exit'), session)
    t.match(answerOf(await post(app, call(`e${n}`, 'echo', { text: String(n) }), session)), { result: { content: [{ text: String(n) }] } })
  }
})

t.test('a child that does not answer ping is ended and replaced', async (t) => {
  const app = await buildProxy(t, { isolation: 'shared', pingInterval: 50, pingTimeout: 300, closeGrace: 0 })
  const session = await initialize(app)
  const hang = once(app.mcpBridge.events, 'hang')
  const frozen = post(app, call(1, 'freeze'), session)
  t.match(await hang, [{ pid: Number }])
  t.match(answerOf(await frozen), { id: 1, error: { data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  t.match(answerOf(await post(app, call(2, 'echo', { text: 'thawed' }), session)), { result: { content: [{ text: 'thawed' }] } })
})

t.test('progress keeps a call alive where that is wanted, up to a maximum', async (t) => {
  const app = await buildProxy(t, { requestTimeout: 200, resetTimeoutOnProgress: true, maxTotalTimeout: 1_000, closeGrace: 0 })
  const session = await initialize(app)
  const answer = await post(app, call(1, 'workForever', {}, { progressToken: 'p' }), session)
  const said = messages(answer.body)
  t.match(said.at(-1), { id: 1, error: { code: -32001, data: { code: 'MCP_ERR_REQUEST_TIMEOUT' } } })
  // at 20 ms apart, 200 ms are 10: that there were many more shows that the time started anew
  t.ok(said.length > 20, `${said.length - 1} progress notifications before the end`)
})

t.test('without that, progress or not, a call ends after its time', async (t) => {
  const app = await buildProxy(t, { requestTimeout: 200, closeGrace: 0 })
  const session = await initialize(app)
  const answer = await post(app, call(1, 'workForever', {}, { progressToken: 'p' }), session)
  t.match(messages(answer.body).at(-1), { id: 1, error: { code: -32001 } })
})

t.test('what happens to children is published on the diagnostics channel', async (t) => {
  const seen: string[] = []
  const listener = (message: unknown): void => { seen.push((message as { event: string }).event) }
  subscribe(DIAGNOSTICS_CHANNEL, listener)
  t.teardown(() => unsubscribe(DIAGNOSTICS_CHANNEL, listener))
  const app = await buildProxy(t)
  await app.mcpBridge.start()
  await app.close()
  t.same(seen, ['spawn', 'ready', 'exit'])
})

t.test('closing waits for calls that end within the grace, and answers the others', async (t) => {
  const { app, url } = await startProxy(t, { closeGrace: 500 })
  const session = await initialize(app)
  const headers = { ...session, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const ask = async (body: object): Promise<unknown> => {
    const response = await fetch(`${url}/stream`, { method: 'POST', headers, body: JSON.stringify(body) })
    return await response.json()
  }
  const quick = ask(call(1, 'sleep', { ms: 100 }))
  const never = ask(call(2, 'never'))
  // both have reached the child
  while (app.mcpBridge.status().children[0]?.calls !== 2) await new Promise(resolve => setImmediate(resolve))
  await app.close()
  t.match(await quick, { id: 1, result: { content: [{ text: 'slept' }] } })
  t.match(await never, { id: 2, error: { data: { code: 'MCP_ERR_CLOSING' } } })
})

t.test('a child that does not read is not sent without end', async (t) => {
  const app = await buildProxy(t, { maxQueuedInput: 1_000_000, closeGrace: 0 })
  const session = await initialize(app)
  const frozen = post(app, call('f', 'freeze'), session)
  // what fills the pipe and then the queue: the limit is judged before a message is added
  const text = 'x'.repeat(600_000)
  const fillers = [1, 2, 3].map(async id => await post(app, call(id, 'echo', { text }), session))
  const refused = await Promise.race(fillers.concat([post(app, call(4, 'echo', { text }), session)]))
  t.equal(refused.statusCode, 503)
  t.match(refused.json(), { error: { data: { code: 'MCP_ERR_CHILD_BUSY' } } })
  await app.close()
  t.match(answerOf(await frozen), { error: { data: { code: 'MCP_ERR_CLOSING' } } })
})
