import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import type { EventStore as SdkEventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { EventStore as SdkV2EventStore } from '@modelcontextprotocol/server'
import t from 'tap'
import { InMemoryEventStore, createAuthenticatedSSEClientTransport, createHeaderAuth, startHTTPStreamServer, startSSEServer, type StartHTTPStreamServerOptions, type StartedServer } from 'mcp-proxy'
import { OVER, SDKS, openClient, type Over } from './helpers/clients.js'
import { serverV1, serverV2 } from './helpers/servers.js'
import { until } from './helpers/until.js'

interface Teardown { teardown: (fn: () => unknown) => void }

const JSON_AND_STREAM = 'application/json, text/event-stream'
const INITIALIZE = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } } }

type Options = Omit<StartHTTPStreamServerOptions<ReturnType<typeof serverV1>>, 'port' | 'stateless' | 'eventStore'>

async function start (t: Teardown, over: Over, options: Options): Promise<StartedServer> {
  const started = await (over === 'sse' ? startSSEServer : startHTTPStreamServer)({ port: 0, closeGrace: 0, ...options })
  t.teardown(started.close)
  return started
}

for (const over of OVER) {
  t.test(`over ${over}: servers of both SDKs, at a path of one’s own, for every client`, async (t) => {
    for (const createServer of [serverV1, serverV2]) {
      const { url, close } = await (over === 'sse' ? startSSEServer : startHTTPStreamServer)({ port: 0, endpoint: '/my/path', createServer: () => createServer('me'), closeGrace: 0 })
      t.match(url, /^http:\/\/127\.0\.0\.1:\d+\/my\/path$/)
      for (const sdk of SDKS) t.equal(await (await openClient(t, over, url, { sdk, path: '/my/path' })).text('whoami'), 'me')
      await close()
      await close()
      await t.rejects(fetch(url), 'nobody listens any more')
    }
  })

  t.test(`over ${over}: authenticate guards every leg, and names the user`, async (t) => {
    let made = 0
    for (const authenticate of [createHeaderAuth(['ada', 'grace']), async (request: Parameters<ReturnType<typeof createHeaderAuth>>[0]) => createHeaderAuth(['ada', 'grace'])(request)]) {
      const { app, url } = await start(t, over, { authenticate, createServer: (request) => { made++; return serverV1(String(request.headers['x-user-id'])) } })
      const base = made
      const legs = over === 'sse'
        ? [['GET', '/sse'], ['POST', '/messages?sessionId=x']] as const
        : [['GET', '/stream'], ['POST', '/stream'], ['DELETE', '/stream']] as const
      for (const [method, path] of legs) {
        for (const headers of [{}, { 'x-user-id': 'mallory' }, { 'x-user-id': '' }]) {
          const answer = await app.inject({ method, url: path, headers: { accept: JSON_AND_STREAM, ...headers }, ...(method === 'POST' && { payload: INITIALIZE }) })
          t.equal(answer.statusCode, 401, `${method} ${path} ${JSON.stringify(headers)}`)
          t.match(answer.json(), { jsonrpc: '2.0', error: { code: -32000, data: { code: 'MCP_ERR_CREDENTIALS' } } })
        }
      }
      t.equal(made, base, 'nobody else gets a server')
      const ada = await openClient(t, over, url, { headers: { 'x-user-id': 'ada' } })
      t.equal(await ada.text('whoami'), 'ada')
      if (over === 'sse') continue
      const stolen = { accept: JSON_AND_STREAM, 'x-user-id': 'grace', 'mcp-session-id': ada.sessionId() ?? '' }
      for (const method of ['POST', 'DELETE'] as const) {
        const answer = await app.inject({ method, url: '/stream', headers: stolen, ...(method === 'POST' && { payload: { jsonrpc: '2.0', id: 1, method: 'ping' } }) })
        t.equal(answer.statusCode, 404, `${method}: a session belongs to its user`)
      }
    }
  })

  t.test(`over ${over}: what else authenticate may say`, async (t) => {
    const path = over === 'sse' ? '/messages?sessionId=none' : '/stream'
    const post = async ({ app }: StartedServer): Promise<number> => (await app.inject({ method: 'POST', url: path, headers: { accept: JSON_AND_STREAM, 'mcp-session-id': 'none' }, payload: { jsonrpc: '2.0', id: 1, method: 'ping' } })).statusCode
    for (const verdict of [true, 'ada', { userId: 'ada' }, { id: 7 }, { authenticated: true }, {}]) t.equal(await post(await start(t, over, { createServer: () => serverV1(), authenticate: async () => verdict })), 404, JSON.stringify(verdict))
    for (const verdict of [false, '', undefined, null, { authenticated: false }, { authenticated: 0, userId: 'ada' }, { userId: undefined }, { id: null, name: 'ada' }]) t.equal(await post(await start(t, over, { createServer: () => serverV1(), authenticate: () => verdict })), 401, JSON.stringify(verdict))
    t.equal(await post(await start(t, over, { createServer: () => serverV1(), authenticate: () => { throw new Error('the database is down') } })), 401)
    t.equal(await post(await start(t, over, { createServer: () => serverV1(), authenticate: () => { throw Object.assign(new Error('not you'), { statusCode: 403 }) } })), 403)
    t.equal(await post(await start(t, over, { createServer: () => serverV1(), authenticate: () => true, onRequest: async (_request, reply) => await reply.code(418).send() })), 418, 'hooks run behind it')
  })

  t.test(`over ${over}: hooks of connections, and other paths`, async (t) => {
    const events: Array<[string, object]> = []
    const { url, app } = await start(t, over, {
      createServer: () => serverV1(),
      onConnect: async (server) => { events.push(['connect', server]) },
      onClose: (server) => { events.push(['close', server]) },
      onUnhandledRequest: (request, reply) => reply.code(202).send(`nothing at ${request.url}`),
    })
    const client = await openClient(t, over, url)
    t.equal(events[0]?.[0], 'connect')
    await client.terminate()
    await client.sdk.close()
    await until(() => events.length === 2)
    t.equal(events[1]?.[0], 'close')
    t.equal(events[1]?.[1], events[0]?.[1], 'the same server')
    const answer = await app.inject('/elsewhere?x=1')
    t.equal(answer.statusCode, 202)
    t.equal(answer.body, 'nothing at /elsewhere?x=1')
    t.equal((await (await start(t, over, { createServer: () => serverV1() })).app.inject('/elsewhere')).statusCode, 404)
  })

  t.test(`over ${over}: what cannot be started is refused, and leaves nothing behind`, async (t) => {
    const { url } = await start(t, over, { createServer: () => serverV1() })
    const create = over === 'sse' ? startSSEServer : startHTTPStreamServer
    await t.rejects(create({ port: Number(new URL(url).port), createServer: () => serverV1() }), { code: 'EADDRINUSE' })
    await t.rejects(create({ port: undefined as unknown as number, createServer: () => serverV1() }), { code: 'MCP_ERR_OPTION', message: /port/ })
    await t.rejects(create({ port: 0, createServer: undefined as unknown as () => ReturnType<typeof serverV1> }), { code: 'MCP_ERR_OPTION', message: 'Option createServer must be a function, not undefined' })
    await t.rejects(create({ port: 0, endpoint: 'no path', createServer: () => serverV1() }), { code: 'MCP_ERR_OPTION' })
    await t.rejects(create({ port: 0, maxSessions: 0, createServer: () => serverV1() }), { code: 'MCP_ERR_OPTION' })
  })
}

t.test('without sessions, and with a store of one’s own', async (t) => {
  const stored: string[] = []
  class Store extends InMemoryEventStore {
    override async storeEvent (...args: Parameters<InMemoryEventStore['storeEvent']>): Promise<string> {
      stored.push(args[0])
      return await super.storeEvent(...args)
    }
  }
  const stateless = await startHTTPStreamServer({ port: 0, stateless: true, createServer: () => serverV1(), closeGrace: 0 })
  t.teardown(stateless.close)
  const client = await openClient(t, 'stream', stateless.url)
  t.equal(await client.text('greet', { name: 'Ada' }), 'Hello, Ada!')
  t.equal(client.sessionId(), undefined)
  const resumable = await startHTTPStreamServer({ port: 0, eventStore: new Store(), createServer: () => serverV1(), closeGrace: 0 })
  t.teardown(resumable.close)
  await openClient(t, 'stream', resumable.url)
  await until(() => stored.length > 0)
  t.pass('it was asked to keep something')
})

t.test('the store fits where the SDKs want one', (t) => {
  const store: SdkEventStore = new InMemoryEventStore()
  const v2: SdkV2EventStore = new InMemoryEventStore()
  t.type(store.storeEvent, 'function')
  t.type(v2.replayEventsAfter, 'function')
  t.end()
})

t.test('createHeaderAuth knows users by a header', (t) => {
  const one = createHeaderAuth('user123')
  t.strictSame(one({ headers: { 'x-user-id': 'user123' } }), { userId: 'user123' })
  t.strictSame(one({ headers: new Headers({ 'X-User-Id': 'user123' }) }), { userId: 'user123' })
  for (const request of [undefined, { headers: {} }, { headers: { 'x-user-id': '' } }, { headers: { 'x-user-id': ['user123'] } }, { headers: { 'x-user-id': 'user1234' } }, { headers: new Headers() }]) t.equal(one(request), undefined)
  const several = createHeaderAuth(['ada', 'grace'], { header: 'X-Api-Key' })
  t.strictSame(several({ headers: { 'x-api-key': 'grace' } }), { userId: 'grace' })
  t.equal(several({ headers: { 'x-user-id': 'grace' } }), undefined)
  for (const wrong of ['', [], ['ada', ''], undefined as unknown as string]) t.throws(() => createHeaderAuth(wrong), { code: 'MCP_ERR_OPTION' })
  t.end()
})

t.test('createAuthenticatedSSEClientTransport sends the user id with the GET and with every POST', async (t) => {
  const seen: Array<[string, unknown]> = []
  const authenticate = createHeaderAuth('user123')
  const { url } = await startSSEServer({
    port: 0,
    closeGrace: 0,
    createServer: () => serverV1(),
    authenticate: (request) => {
      seen.push([request.method, request.headers['x-user-id']])
      return authenticate(request)
    },
  }).then((started) => { t.teardown(started.close); return started })
  const client = new Client({ name: 'c', version: '1' })
  await client.connect(createAuthenticatedSSEClientTransport(url, 'user123', { requestInit: { headers: { 'x-other': 'kept' } } }))
  t.match(await client.callTool({ name: 'greet', arguments: { name: 'Ada' } }), { content: [{ text: 'Hello, Ada!' }] })
  await client.close()
  t.strictSame([...new Set(seen.map(([method]) => method))], ['GET', 'POST'])
  t.ok(seen.length >= 4 && seen.every(([, user]) => user === 'user123'))
  await t.rejects(new Client({ name: 'c', version: '1' }).connect(createAuthenticatedSSEClientTransport(new URL(url), 'mallory')))
  t.throws(() => createAuthenticatedSSEClientTransport('no url', 'user123'), TypeError)
})
