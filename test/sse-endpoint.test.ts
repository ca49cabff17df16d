import t, { type Test } from 'tap'
import Fastify, { type LightMyRequestResponse } from 'fastify'
import { mcpSse, type McpSseOptions } from '@mcp-proxy/sse'
import { startProxy } from './helpers/app.js'
import { call, post as postTo, type Json } from './helpers/http.js'
import { live, type Live } from './helpers/live.js'
import { Puppet, startPuppet, type Party } from './helpers/puppet.js'
import { until } from './helpers/until.js'

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }

interface Client { stream: Live, endpoint: string, party: Party, post: (body: Json, headers?: Record<string, string>) => Promise<LightMyRequestResponse> }

async function open (t: Test, { app, puppet, url }: Awaited<ReturnType<typeof startPuppet>>, headers: Record<string, string> = {}, path = '/sse'): Promise<Client> {
  const stream = await live(t, url + path, { headers })
  await stream.until(() => stream.events.length > 0)
  const endpoint = stream.events[0]?.data ?? ''
  return { stream, endpoint, party: puppet.party, post: async (body, more) => await postTo(app, body, { ...headers, ...more }, endpoint) }
}

function refused (t: Test, answer: LightMyRequestResponse, status: number, code: string): void {
  t.equal(answer.statusCode, status)
  t.match(answer.json(), { jsonrpc: '2.0', error: { message: String, data: { code } } })
}

t.test('the first event names where to post; a post is accepted and answered on the stream', async (t) => {
  const { stream, endpoint, post } = await open(t, await startPuppet(t))
  t.equal(stream.status, 200)
  t.equal(stream.type, 'text/event-stream')
  t.match(stream.response.headers, { 'cache-control': /no-cache/, 'x-accel-buffering': 'no' })
  t.equal(stream.events[0]?.event, 'endpoint')
  t.match(endpoint, /^\/messages\?sessionId=[0-9a-f-]{36}$/)
  const answer = await post(PING)
  t.equal(answer.statusCode, 202)
  await stream.until('"result"')
  t.match(stream.events[1], { event: 'message', data: '{"jsonrpc":"2.0","id":1,"result":{}}' })
})

t.test('the endpoint event honours the prefix, and publicPrefix where a proxy rewrites paths', async (t) => {
  const expected: Array<[McpSseOptions & { prefix?: string }, string, RegExp]> = [
    [{ prefix: '/api/v1' }, '/api/v1/sse', /^\/api\/v1\/messages\?/],
    [{ prefix: '/api/' }, '/api/sse', /^\/api\/messages\?/],
    [{ prefix: '/' }, '/sse', /^\/messages\?/],
    [{ prefix: '/api', publicPrefix: '/outside/' }, '/api/sse', /^\/outside\/messages\?/],
    [{ prefix: '/api', publicPrefix: '/outside' }, '/api/sse', /^\/outside\/messages\?/],
    [{ prefix: '/api', publicPrefix: '' }, '/api/sse', /^\/messages\?/],
    [{ path: '/events', messagesPath: '/inbox' }, '/events', /^\/inbox\?/],
  ]
  for (const [options, path, event] of expected) {
    const puppet = new Puppet()
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(mcpSse, { connect: puppet.connect, closeGrace: 0, ...options })
    const { endpoint } = await open(t, { app, puppet, url: await app.listen({ port: 0, host: '127.0.0.1' }) }, {}, path)
    t.match(endpoint, event)
  }
})

t.test('400 without a session id or with two, 404 for one that is unknown', async (t) => {
  const started = await startPuppet(t)
  const { endpoint } = await open(t, started)
  const { app } = started
  refused(t, await postTo(app, PING, {}, '/messages'), 400, 'MCP_ERR_SESSION_REQUIRED')
  refused(t, await postTo(app, PING, {}, `${endpoint}&sessionId=x`), 400, 'MCP_ERR_SESSION_REQUIRED')
  for (const id of ['', 'nobody', '__proto__', 'constructor']) refused(t, await postTo(app, PING, {}, `/messages?sessionId=${id}`), 404, 'MCP_ERR_SESSION_NOT_FOUND')
  refused(t, await postTo(app, PING, { 'mcp-session-id': endpoint.split('=')[1] ?? '' }, '/stream'), 404, 'MCP_ERR_SESSION_NOT_FOUND')
})

t.test('404 for another principal, who changes nothing', async (t) => {
  const started = await startPuppet(t, { sse: { principal: request => String(request.headers['x-me']) } })
  const { endpoint, party, post } = await open(t, started, { 'x-me': 'ann' })
  refused(t, await postTo(started.app, PING, { 'x-me': 'bob' }, endpoint), 404, 'MCP_ERR_SESSION_NOT_FOUND')
  t.equal(party.heard.length, 0)
  t.equal((await post(PING)).statusCode, 202)
})

t.test('a client that leaves ends its session', async (t) => {
  const closed: string[] = []
  const started = await startPuppet(t, { sse: { onSessionClose: ({ id }) => { closed.push(id) } } })
  const { stream, endpoint, party, post } = await open(t, started)
  const stays = await open(t, started)
  await post(call(1, 'x'))
  stream.leave()
  await until(() => party.closed)
  t.strictSame(closed.map(id => endpoint.endsWith(id)), [true])
  refused(t, await post(PING), 404, 'MCP_ERR_SESSION_NOT_FOUND')
  t.equal((await stays.post(PING)).statusCode, 202)
})

t.test('406 for a GET that does not accept event streams', async (t) => {
  const { app } = await startPuppet(t)
  refused(t, await app.inject({ url: '/sse', headers: { accept: 'application/json' } }), 406, 'MCP_ERR_ACCEPT')
})

t.test('405 with Allow for other methods, of both paths', async (t) => {
  const { app } = await startPuppet(t)
  for (const [url, allow, methods] of [['/sse', 'GET', ['HEAD', 'POST', 'PUT', 'DELETE']], ['/messages', 'POST', ['GET', 'HEAD', 'PUT', 'DELETE']]] as const) {
    for (const method of methods) {
      const answer = await app.inject({ method, url, headers: { accept: '*/*' } })
      t.equal(answer.statusCode, 405, `${method} ${url}`)
      t.equal(answer.headers.allow, allow)
    }
  }
})

t.test('bodies that are refused: a batch, no JSON, no message, too large, another type, an id in use', async (t) => {
  const { post, party, stream } = await open(t, await startPuppet(t, { sse: { bodyLimit: 1000 } }))
  refused(t, await post([PING]), 400, 'MCP_ERR_BATCH')
  refused(t, await post('{'), 400, 'MCP_ERR_PARSE')
  refused(t, await post('{}'), 400, 'MCP_ERR_INVALID_REQUEST')
  refused(t, await post(call(1, 'x', { text: 'x'.repeat(1000) })), 413, 'MCP_ERR_BODY_TOO_LARGE')
  refused(t, await post(PING, { 'content-type': 'text/plain' }), 415, 'MCP_ERR_CONTENT_TYPE')
  t.equal(party.heard.length, 0, 'the server heard nothing of it')
  t.equal((await post(call(1, 'x'))).statusCode, 202)
  const twice = await post(call(1, 'x'))
  refused(t, twice, 400, 'MCP_ERR_ID_IN_USE')
  t.match(twice.json(), { id: 1 })
  void party.answer(1)
  await stream.until('"id":1')
  t.equal((await post(call(1, 'x'))).statusCode, 202, 'free again')
})

t.test('an id is free once its request was cancelled', async (t) => {
  const { post } = await open(t, await startPuppet(t))
  await post(call('a', 'x'))
  await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'a' } })
  t.equal((await post(call('a', 'x'))).statusCode, 202)
})

t.test('503 with Retry-After for one session too many', async (t) => {
  const started = await startPuppet(t, { sse: { maxSessions: 1 } })
  const { stream, party } = await open(t, started)
  const answer = await live(t, `${started.url}/sse`)
  t.equal(answer.status, 503)
  t.match(answer.response.headers['retry-after'], /^\d+$/)
  stream.leave()
  await until(() => party.closed)
  await open(t, started)
})

t.test('an open stream is kept alive by comments and is never idle', async (t) => {
  const { stream, post } = await open(t, await startPuppet(t, { sse: { keepAliveInterval: 10, idleTimeout: 10 } }))
  await stream.until(': keep-alive\n\n: keep-alive\n\n: keep-alive\n\n: keep-alive')
  t.equal((await post(PING)).statusCode, 202)
})

t.test('a reader that stops loses its stream at maxQueuedBytes; others on the same server get everything', async (t) => {
  const started = await startPuppet(t, { sse: { maxQueuedBytes: 100_000 } })
  const [slow, fast] = [await open(t, started), await open(t, started)]
  slow.stream.response.pause()
  const chunk = 'x'.repeat(10_000)
  let sent = 0
  // far more than the queue and the buffers of the system hold
  for (; sent < 2_000 && !slow.party.closed; sent++) {
    void slow.party.say(chunk)
    await fast.party.say(`${sent} ${chunk}`)
  }
  t.ok(slow.party.closed, `ended after ${sent} messages`)
  await until(() => fast.stream.said.length === sent)
  t.strictSame(fast.stream.said.map(data => Number.parseInt(String(data))), [...Array(sent).keys()])
  slow.stream.response.resume()
  t.equal(await slow.stream.ended, 'cut')
  t.ok(slow.stream.said.every(data => data === chunk), 'what it got is whole')
})

t.test('one message that is larger than maxQueuedBytes passes', async (t) => {
  const { stream, party } = await open(t, await startPuppet(t, { sse: { maxQueuedBytes: 1024 } }))
  void party.say('x'.repeat(3_000_000))
  await until(() => stream.said.length === 1)
  t.equal(String(stream.said[0]).length, 3_000_000)
})

t.test('an app that closes ends its streams, and clients see a normal end', async (t) => {
  const started = await startPuppet(t)
  const streams = await Promise.all([1, 2, 3].map(() => live(t, `${started.url}/sse`)))
  await started.app.close()
  for (const stream of streams) t.equal(await stream.ended, 'whole')
  t.ok(started.puppet.parties.every(party => party.closed))
})

t.test('a call that is open when the app closes is still answered', async (t) => {
  const started = await startPuppet(t, { sse: { closeGrace: 60_000 } })
  const { stream, post, party } = await open(t, started)
  await post(call(1, 'x'))
  const closed = started.app.close()
  void party.answer(1, { done: true })
  t.equal(await stream.ended, 'whole')
  t.match(stream.messages, [{ id: 1, result: { done: true } }])
  await closed
})

t.test('errors of the server come on the stream: a command that does not exist', async (t) => {
  const { app, url } = await startProxy(t, { command: ['/nowhere/at-all'] })
  const stream = await live(t, `${url}/sse`)
  await stream.until(() => stream.events.length > 0)
  t.equal((await postTo(app, { jsonrpc: '2.0', id: 'i', method: 'initialize', params: { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 't', version: '1' } } }, {}, stream.events[0]?.data)).statusCode, 202)
  await stream.until('"error"')
  t.match(stream.messages, [{ id: 'i', error: { code: -32000, data: { code: 'MCP_ERR_CHILD_START' } } }])
})
