// What clients may send and do: each gets a clear error, and nobody else notices.
import t, { type Test } from 'tap'
import { Agent, request, type IncomingMessage } from 'node:http'
import { connect as dial } from 'node:net'
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { childrenOf, startProxy, type ProxyOptions } from './helpers/app.js'
import { standBy } from './helpers/bystander.js'
import { JSON_AND_STREAM, answerOf, call, initialize, post } from './helpers/http.js'
import { live, type Live } from './helpers/live.js'
import { toolText } from './helpers/tool-text.js'
import { until } from './helpers/until.js'

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }
const OPEN = { jsonrpc: '2.0', id: 'open', method: 'initialize', params: { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'test', version: '1' } } }

/** A client of HTTP+SSE: its stream, and where it posts. */
async function openSse (t: Test, url: string, headers: Record<string, string> = {}): Promise<{ stream: Live, messages: string }> {
  const stream = await live(t, `${url}/sse`, { headers })
  await stream.until('\n\n')
  const messages = stream.events[0]?.data ?? ''
  await live(t, url + messages, { headers, method: 'POST', body: OPEN })
  await stream.until('"open"')
  return { stream, messages }
}

/** Calls of the child that were cancelled, by their labels. */
async function cancelled (app: FastifyInstance, session: Record<string, string>): Promise<string> {
  return toolText(await post(app, call('cancelled?', 'labels', { state: 'cancelled' }), session))
}

async function start (t: Test, options: ProxyOptions = {}): Promise<{ app: FastifyInstance, url: string, pid: () => number | undefined }> {
  const { app, url } = await startProxy(t, { closeGrace: 0, ...options })
  return { app, url, pid: () => childrenOf(app)[0]?.pid }
}

t.test('a body that is not JSON', async (t) => {
  const { app, url, pid } = await start(t)
  const bystander = await standBy(t, app, url)
  const child = pid()
  const session = await initialize(app)
  const { messages } = await openSse(t, url)
  const bodies = ['', '{', 'null null', '{"jsonrpc":"2.0","id":1,"method":"ping"}\n{"jsonrpc":"2.0","id":2,"method":"ping"}', '{"jsonrpc":"2.0","id":1,"method":"\u0000"}', 'x'.repeat(100_000), '['.repeat(100_000)]
  for (const body of bodies) {
    for (const path of ['/stream', messages]) {
      const answer = await post(app, body, session, path)
      t.equal(answer.statusCode, 400, `${path.slice(0, 9)} ${body.slice(0, 40)}`)
      t.match(answer.json(), { jsonrpc: '2.0', error: { code: -32700, data: { code: 'MCP_ERR_PARSE' } } })
    }
  }
  const bytes = await app.inject({ method: 'POST', url: '/stream', headers: { 'content-type': 'application/json', accept: JSON_AND_STREAM, ...session }, payload: Buffer.from([0x22, 0xff, 0xfe, 0x22]) })
  t.match(bytes.json(), { error: { code: -32700 } }, 'bytes that are no UTF-8')
  t.equal(pid(), child)
  await bystander.undisturbed()
})

t.test('wrong types', async (t) => {
  const { app, url, pid } = await start(t)
  const bystander = await standBy(t, app, url)
  const child = pid()
  const session = await initialize(app)
  const { messages } = await openSse(t, url)
  const bodies: unknown[] = [null, true, 7, 'ping', {}, [], [[]], { ...PING, id: null }, { ...PING, id: true }, { ...PING, id: [1] }, { ...PING, id: {} }, { ...PING, method: 7 }, { ...PING, method: null }, { ...PING, jsonrpc: 2 }, { ...PING, params: 'x' }, { ...PING, params: [] }, { jsonrpc: '2.0', id: 1 }, { jsonrpc: '2.0', id: 1, result: {}, error: {} }]
  for (const body of bodies) {
    for (const path of ['/stream', messages]) {
      const answer = await post(app, JSON.stringify(body), session, path)
      t.equal(answer.statusCode, 400, `${path.slice(0, 9)} ${JSON.stringify(body)}`)
      t.match(answer.json(), { jsonrpc: '2.0', error: { code: -32600 } })
    }
  }
  for (const params of [{}, { name: 7 }, { name: 'echo', arguments: 7 }, { name: 'echo', _meta: 7 }, { name: 'echo', _meta: { progressToken: {} } }]) {
    const answer = await post(app, { ...PING, method: 'tools/call', params }, session)
    t.equal(answer.statusCode, 200, `what only the server can judge is the server's: ${JSON.stringify(params)}`)
    t.match(answerOf(answer), { id: 1 })
  }
  const initialized = await post(app, { ...PING, method: 'initialize', params: { protocolVersion: 7, capabilities: 'x' } })
  t.match(answerOf(initialized), { id: 1 })
  t.equal(pid(), child)
  await bystander.undisturbed()
})

t.test('__proto__ and its kin, as session ids, ids, tokens and members', async (t) => {
  const { app, url } = await start(t)
  const bystander = await standBy(t, app, url)
  const session = await initialize(app)
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const answer = await post(app, PING, { 'mcp-session-id': name })
    t.equal(answer.statusCode, 404, name)
    t.match(answer.json(), { error: { data: { code: 'MCP_ERR_SESSION_NOT_FOUND' } } })
    t.equal((await app.inject({ method: 'DELETE', url: '/stream', headers: { 'mcp-session-id': name } })).statusCode, 404)
    t.equal((await post(app, PING, {}, `/messages?sessionId=${name}`)).statusCode, 404)
    t.equal((await post(app, PING, {}, `/messages?${name}=${name}`)).statusCode, 400)

    const progress = await post(app, call(name, 'progress', { count: 1 }, { progressToken: name }), session)
    t.match(progress.body, `"progressToken":"${name}"`)
    t.match(answerOf(progress), { id: name, result: {} })
    const raw = await post(app, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"raw","arguments":{"${name}":{"polluted":true}}}}`, session)
    t.match(toolText(raw), `"${name}":{"polluted":true}`, 'reaches the server as it is')
  }
  t.notOk('polluted' in {})
  await bystander.undisturbed()
})

t.test('bodies over the limit without a length: what is a little over keeps its connection, what has no end loses it', async (t) => {
  const { app, url, pid } = await start(t, { bodyLimit: 10_000 })
  const bystander = await standBy(t, app, url)
  const child = pid()
  const session = await initialize(app)
  const { messages } = await openSse(t, url)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  let port: number | undefined
  for (const path of ['/stream', messages]) {
    const outgoing = request(url + path, { method: 'POST', agent, headers: { 'content-type': 'application/json', accept: JSON_AND_STREAM, ...session } })
    outgoing.end(JSON.stringify(call(1, 'echo', { text: 'x'.repeat(20_000) })))
    const [response] = await once(outgoing, 'response') as [IncomingMessage]
    port ??= response.socket.localPort
    t.equal(response.socket.localPort, port, 'one connection for all')
    let body = ''
    for await (const chunk of response) body += String(chunk)
    t.equal(response.statusCode, 413)
    t.match(JSON.parse(body), { jsonrpc: '2.0', error: { code: -32600, message: /10000/, data: { code: 'MCP_ERR_BODY_TOO_LARGE' } } })
  }

  const endless = dial(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => endless.destroy())
  endless.on('error', () => {}).resume()
  endless.write('POST /stream HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n')
  const chunk = `2710\r\n${'x'.repeat(10_000)}\r\n`
  let sent = 0
  while (!endless.destroyed && sent < 500_000_000) {
    sent += chunk.length
    if (!endless.write(chunk)) await Promise.race([once(endless, 'drain'), once(endless, 'close')]).catch(() => {})
  }
  t.ok(endless.destroyed, 'nobody reads without end')
  t.equal(pid(), child)
  await bystander.undisturbed()
})

t.test('two clients with the same ids, and ids that are strings', async (t) => {
  const { app, url } = await start(t)
  const [one, other] = [await initialize(app), await initialize(app)]
  const { stream, messages } = await openSse(t, url)
  for (const [n, id] of [1, '1', 'ä"\\', -7, 1.5, ''].entries()) {
    const waiting = await live(t, `${url}/stream`, { headers: one, method: 'POST', body: call(id, 'gated', {}, { progressToken: id }) })
    await waiting.until(() => waiting.messages.length === 1)
    t.match(answerOf(await post(app, call(id, 'echo', { text: 'for the other' }), other)), { id, result: { content: [{ text: 'for the other' }] } })
    await post(app, call(id, 'echo', { text: `over sse ${n}` }), {}, messages)
    await stream.until(() => stream.events.at(-1)?.data.includes(`over sse ${n}`) === true)
    t.match(JSON.parse(stream.events.at(-1)?.data ?? ''), { id, result: { content: [{ text: `over sse ${n}` }] } })
    await post(app, call(2, 'open'), other)
    await waiting.ended
    t.strictSame(waiting.messages.at(-1), { jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'through' }] } }, JSON.stringify(id))
  }
  t.match((await post(app, '{"jsonrpc":"2.0","id":12345678901234567890,"method":"ping"}', one)).body, '"id":12345678901234567890', 'a number that JavaScript does not hold')
})

t.test('a client that leaves during a call, before anything was said', async (t) => {
  for (const stateless of [false, true]) {
    const { app, url } = await start(t, { keepAliveInterval: 20, stream: { stateless } })
    const asker = stateless ? {} : await initialize(app)
    const session = stateless ? {} : await initialize(app)
    const outgoing = request(`${url}/stream`, { method: 'POST', agent: false, headers: { 'content-type': 'application/json', accept: 'application/json', ...session } })
    outgoing.on('error', () => {}).end(JSON.stringify(call(1, 'never', { label: 'left' })))
    await until(async () => toolText(await post(app, call(2, 'labels', { state: 'open' }), asker)).includes('left'))
    outgoing.destroy()
    if (!stateless) {
      t.equal(await cancelled(app, asker), '[]', 'to leave is not to cancel: the client may come back')
      t.equal((await app.inject({ method: 'DELETE', url: '/stream', headers: session })).statusCode, 204)
    }
    await until(async () => await cancelled(app, asker) === '["left"]')
    t.pass(stateless ? 'stateless: nobody can come back, the call is cancelled' : 'the end of the session cancels it')
  }
})

t.test('a client that leaves a stream in the middle', async (t) => {
  const { app, url, pid } = await start(t)
  const bystander = await standBy(t, app, url)
  const child = pid()
  const asker = await initialize(app)
  const session = await initialize(app)
  const working = await live(t, `${url}/stream`, { headers: session, method: 'POST', body: call(1, 'gated', {}, { progressToken: 'p' }) })
  const listening = await live(t, `${url}/stream`, { headers: session })
  const { stream, messages } = await openSse(t, url)
  await post(app, call(1, 'never', { label: 'left' }), {}, messages)
  await until(async () => toolText(await post(app, call(2, 'labels', { state: 'open' }), asker)).includes('left'))
  for (const open of [working, listening, stream]) open.leave()
  await until(async () => await cancelled(app, asker) === '["left"]')
  t.equal((await post(app, PING, {}, messages)).statusCode, 404, 'an SSE session ends with its stream')
  t.equal(toolText(await post(app, call(3, 'echo', { text: 'still here' }), session)), 'still here', 'a stream session does not')
  t.equal(pid(), child)
  await bystander.undisturbed()
})

t.test('an app that closes with streams open ends each of them, without a reset', async (t) => {
  const { app, url } = await start(t)
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const session = await initialize(app)
  const { stream, messages } = await openSse(t, url)
  const listening = await live(t, `${url}/stream`, { agent, headers: session })
  const working = await live(t, `${url}/stream`, { agent, headers: session, method: 'POST', body: call(1, 'gated', {}, { progressToken: 'p' }) })
  const waiting = live(t, `${url}/stream`, { agent, headers: session, method: 'POST', body: call(2, 'never', { label: 'asked' }) })
  await post(app, call(3, 'never', { label: 'asked' }), {}, messages)
  await until(async () => toolText(await post(app, call(4, 'labels', { state: 'open' }), session)) === '["asked","asked"]')
  await app.close()
  for (const open of [stream, listening, working, await waiting]) t.equal(await open.ended, 'whole')
  t.match(working.messages.at(-1), { id: 1, error: { data: { code: 'MCP_ERR_CLOSING' } } }, 'the client is told what has become of its call')
  t.equal((await waiting).status, 503)
})
