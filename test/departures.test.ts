// Clients that leave where Node does not say so by itself: nothing is kept for them, and nothing waits for them.
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect as dialHttp2 } from 'node:http2'
import { connect as dial } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { SseStream, Ticker } from '@mcp-proxy/endpoint'
import { mcpSse } from '@mcp-proxy/sse'
import { mcpStream } from '@mcp-proxy/stream'
import { JSON_AND_STREAM } from './helpers/http.js'
import { live } from './helpers/live.js'
import { Puppet } from './helpers/puppet.js'
import { until } from './helpers/until.js'

const LISTEN = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'subscriptions/listen',
  params: { notifications: { toolsListChanged: true }, _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': { name: 'x', version: '1' }, 'io.modelcontextprotocol/clientCapabilities': {} } },
})
const LISTEN_HEADERS = { accept: JSON_AND_STREAM, 'content-type': 'application/json', 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' }
const HTTP2 = { http2: true } as FastifyServerOptions

interface Opened { app: FastifyInstance, puppet: Puppet, url: string }

async function start (t: Test, server: FastifyServerOptions, addHooks: (app: FastifyInstance) => unknown = () => {}, stateless = false): Promise<Opened> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  addHooks(app)
  const puppet = new Puppet()
  const options = { connect: puppet.connect, closeGrace: 0, maxSessions: 1 }
  await app.register(mcpSse, options)
  await app.register(mcpStream, { ...options, stateless })
  return { app, puppet, url: await app.listen({ port: 0, host: '127.0.0.1' }) }
}

/** Sends a request and leaves as soon as `arrived` has resolved. */
async function leave (t: Test, url: string, http2: boolean, method: string, path: string, headers: Record<string, string>, body: string, arrived: () => boolean): Promise<void> {
  if (http2) {
    const connection = dialHttp2(url)
    t.teardown(() => { connection.destroy() })
    const stream = connection.request({ ':method': method, ':path': path, ...headers }).on('error', () => {})
    stream.end(body)
    await until(arrived)
    connection.destroy()
  } else {
    const outgoing = request(url + path, { method, agent: false, headers }).on('error', () => {})
    outgoing.end(body)
    await until(arrived)
    outgoing.destroy()
  }
}

for (const [name, server] of [['HTTP/1.1', {}], ['HTTP/2', HTTP2]] as const) {
  for (const [what, stateless, method, path, headers, body] of [
    ['HTTP+SSE', false, 'GET', '/sse', { accept: 'text/event-stream' }, ''],
    ['a subscription', false, 'POST', '/stream', LISTEN_HEADERS, LISTEN],
    ['a call without a session', true, 'POST', '/stream', { accept: JSON_AND_STREAM, 'content-type': 'application/json' }, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'],
  ] as const) {
    t.test(`${name}, ${what}: a client that leaves while a hook takes its time is not served, and takes nobody's place`, async (t) => {
      let hooked = 0
      let handled = 0
      const { puppet, url } = await start(t, server, app => app.addHook('preHandler', async (_request, reply) => {
        hooked++
        await once(reply.raw, 'close')
        // the handler runs behind what has been waiting for this
        setImmediate(() => handled++)
      }), stateless)
      for (let n = 1; n <= 2; n++) {
        await leave(t, url, server === HTTP2, method, path, headers, body, () => hooked === n)
        await until(() => handled === n)
        await until(() => puppet.parties.every(({ closed }) => closed))
      }
      t.ok(puppet.parties.every(({ heard }) => heard.length === 0))
    })
  }
}

t.test('HTTP/2: the end of a stream whose client has left is not waited for', async (t) => {
  const app = Fastify(HTTP2)
  t.teardown(() => app.close())
  let stream: SseStream | undefined
  let closed = false
  app.get('/', (_request, reply) => {
    stream = new SseStream({ maxQueuedBytes: 1000, ticker: new Ticker(0), onclose: () => { closed = true } })
    stream.open(reply)
  })
  await leave(t, await app.listen({ port: 0, host: '127.0.0.1' }), true, 'GET', '/', {}, '', () => stream !== undefined)
  await until(() => closed)
  await stream?.end()
  t.pass('ended')
})

t.test('HTTP/2: a client that has stopped reading, and then leaves without an error, ends its session', async (t) => {
  const { puppet, url } = await start(t, HTTP2)
  const connection = dialHttp2(url)
  t.teardown(() => { connection.destroy() })
  const stream = connection.request({ ':path': '/sse', accept: 'text/event-stream' })
  await once(stream, 'readable')
  let full: Promise<void> | undefined
  while (full === undefined) full = puppet.party.say('x'.repeat(100_000)) ?? undefined
  stream.close(0)
  await until(() => puppet.party.closed)
  await full
  t.notOk(connection.closed)
})

t.test('requests that wait behind an event stream end with their connection', async (t) => {
  const { app, puppet, url } = await start(t, {}, () => {})
  const session = (await live(t, `${url}/stream`, { method: 'POST', headers: { 'mcp-protocol-version': '2025-06-18' }, body: { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'x', version: '1' } } } })).response.headers['mcp-session-id']
  const own = puppet.party
  const socket = dial(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
  t.teardown(() => socket.destroy())
  const write = (method: string, path: string, headers: Record<string, string>, body = ''): void => {
    const lines = Object.entries({ host: 'localhost', 'content-length': String(body.length), ...headers }).map(([header, value]) => `${header}: ${value}\r\n`)
    socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
  }
  write('GET', '/stream', { accept: 'text/event-stream', 'mcp-session-id': String(session) })
  write('GET', '/sse', { accept: 'text/event-stream' })
  write('POST', '/stream', LISTEN_HEADERS, LISTEN)
  await until(() => puppet.parties.length === 3)
  socket.destroy()
  await until(() => puppet.parties.every(party => party === own || party.closed))
  await app.close()
  t.pass('closed')
})

t.test('a hook of the app that writes the head itself: the events follow', async (t) => {
  const { puppet, url } = await start(t, {}, app => app.addHook('onSend', async (_request, { raw }, payload) => {
    raw.writeHead(200, { 'content-type': 'text/event-stream' })
    return payload
  }))
  const stream = await live(t, `${url}/sse`)
  await stream.until('endpoint')
  void puppet.party.say('hello')
  await stream.until('hello')
  t.equal(stream.status, 200)
})
