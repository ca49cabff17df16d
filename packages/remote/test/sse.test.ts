import t from 'tap'
import { TestParty, remote } from './helpers/party.js'
import { scripted, until, type Asked, type Json, type Scripted } from './helpers/scripted.js'

const RESULT = { protocolVersion: '2024-11-05', capabilities: { tools: { listChanged: true }, logging: {}, resources: { subscribe: true } }, serverInfo: { name: 's', version: '1' } }

interface SseServer extends Scripted {
  /** The streams that were opened; the last one answers. */
  readonly streams: Asked[]
}

/** A server of HTTP+SSE; `more` answers what the test is about. */
async function sse (t: Parameters<typeof scripted>[0], more: (asked: Asked, stream: Asked | undefined) => boolean | void = () => {}, endpoint: (n: number) => string = n => `/messages?session=${n}`): Promise<SseServer> {
  const streams: Asked[] = []
  const server = await scripted(t, (asked) => {
    const stream = streams.at(-1)
    if (more(asked, stream) === true) return
    if (asked.what === 'GET') {
      streams.push(asked)
      asked.stream().say(endpoint(streams.length), { event: 'endpoint' })
    } else if (!asked.path.startsWith('/messages')) asked.status(405)
    else if (asked.path !== `/messages?session=${streams.length}`) asked.status(404)
    else {
      asked.status(202)
      const { id } = asked.json
      if (id !== undefined && asked.what !== 'response') stream?.say({ id, result: asked.what === 'initialize' ? RESULT : { echoed: asked.what } }, { event: 'message' })
    }
  })
  return { ...server, streams }
}

const lastOf = ({ streams }: SseServer): Asked => streams.at(-1) as Asked

t.test('a server of HTTP+SSE is found, and kept', async (t) => {
  const server = await sse(t)
  const there = remote(t, { url: server.url, headers: { 'x-key': 'k' } })
  const party = new TestParty(there)
  await party.start()
  t.match(await party.call('x'), { result: { echoed: 'x' } })
  t.same(server.what(), ['server/discover', 'initialize', 'GET', 'initialize', 'notifications/initialized', 'x'])
  for (const { headers } of server.asked) t.equal(headers['x-key'], 'k')
  const second = new TestParty(there)
  second.ask('initialize')
  await until(() => server.streams.length === 2)
  t.equal(server.what().filter(what => what === 'server/discover').length, 1)
  t.equal(server.asked.findLast(({ what }) => what === 'initialize')?.path, '/messages?session=1', 'no POST to the URL is tried')
})

t.test('it can be said that a server is one', async (t) => {
  const server = await sse(t)
  const party = new TestParty(remote(t, { url: server.url, transport: 'sse' }))
  await party.start()
  t.same(server.what().slice(0, 2), ['GET', 'initialize'])
})

t.test('what the server says and asks by itself arrives, and is answered', async (t) => {
  const server = await sse(t)
  const party = new TestParty(remote(t, { url: server.url, transport: 'sse' }))
  await party.start()
  lastOf(server).say({ method: 'notifications/message', params: { n: 1 } }).say('garbage').say({ id: 'q', method: 'roots/list' }).say({ id: 77, result: {} }).say({ method: 'not/this' }, { event: 'other' })
  await party.told('roots/list')
  t.equal(party.heard.length, 3)
  party.write('{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}')
  t.match((await server.next('response')).json, { id: 'q' })
})

t.test('an endpoint on another origin gets nothing', async (t) => {
  const other = await scripted(t, asked => asked.status(202))
  for (const place of [other.url, '//127.0.0.1:1/x', 'http://[', 'data:,x']) {
    const server = await sse(t, undefined, () => place)
    const party = new TestParty(remote(t, { url: server.url, transport: 'sse', headers: { authorization: 'Bearer x' } }))
    t.match(await party.call('initialize'), { error: { code: -32603, data: { code: 'MCP_ERR_REMOTE_PROTOCOL' } } }, place)
  }
  t.equal(other.asked.length, 0)
})

t.test('a lost stream fails what is open, and is opened again with a handshake, log level and subscriptions', async (t) => {
  const server = await sse(t, (asked) => {
    if (asked.what !== 'hangs') return
    asked.status(202)
    return true
  })
  const party = new TestParty(remote(t, { url: server.url, transport: 'sse' }))
  await party.start({ roots: {} })
  await party.call('logging/setLevel', { level: 'info' })
  await party.call('resources/subscribe', { uri: 'x://1' })
  const open = party.ask('hangs')
  await server.next('hangs')
  const before = server.asked.length
  lastOf(server).cut()
  t.match(await party.answer(open), { error: { code: -32000, data: { code: 'MCP_ERR_REMOTE_ENDED' } } })
  t.match(await party.call('x'), { result: { echoed: 'x' } }, 'what comes meanwhile waits for it')
  t.same(server.what().slice(before), ['GET', 'initialize', 'notifications/initialized', 'logging/setLevel', 'resources/subscribe', 'x'])
  t.match(server.asked[before + 1]?.json, { params: { capabilities: { roots: {} } } })
  await party.told('notifications/tools/list_changed')
  t.equal(party.heard.filter(({ json }) => json.method === undefined).length, 5, 'the answers of the second handshake are not the party’s')
})

t.test('a message that goes to a forgotten session is sent once more on another stream', async (t) => {
  let forgotten = false
  const server = await sse(t, (asked) => {
    if (asked.what !== 'x' || forgotten) return
    forgotten = true
    asked.status(404)
    return true
  })
  const party = new TestParty(remote(t, { url: server.url, transport: 'sse' }))
  await party.start()
  t.match(await party.call('x'), { result: { echoed: 'x' } })
  t.equal(server.streams.length, 2)
})

t.test('what the server refuses fails', async (t) => {
  const server = await sse(t, (asked) => {
    if (asked.what === 'full') asked.status(503)
    else if (asked.what === 'own') asked.error(-32602, { id: null })
    else return
    return true
  })
  const party = new TestParty(remote(t, { url: server.url, transport: 'sse' }))
  await party.start()
  t.match(await party.call('full'), { error: { data: { code: 'MCP_ERR_REMOTE_STATUS' } } })
  t.match(await party.call('own'), { error: { code: -32602 } })
  t.match(await party.call('x'), { result: { echoed: 'x' } })
})

t.test('a server that cannot be had again: who calls is told so, and the next message tries again', async (t) => {
  let there = true
  const server = await sse(t, (asked) => {
    if (asked.what !== 'GET' || there) return
    asked.status(503)
    return true
  })
  const party = new TestParty(remote(t, { url: server.url, transport: 'sse', reconnect: { delay: 1, maxDelay: 1, maxRetries: 2 } }))
  await party.start()
  there = false
  lastOf(server).cut()
  const gets = (): number => server.what().filter(what => what === 'GET').length
  await until(() => gets() >= 3)
  t.match(await party.call('x'), { error: { code: -32000 } })
  there = true
  // an attempt may still be under way that has failed already
  await until(() => { if (party.heard.at(-1)?.json.result === undefined) party.ask('x'); return party.heard.at(-1)?.json.result !== undefined })
  t.match(party.heard.at(-1)?.json, { result: { echoed: 'x' } })
})

t.test('neither kind of server: the error says so, and the next message looks again', async (t) => {
  let there = false
  const server = await sse(t, (asked) => {
    if (there) return
    asked.status(404)
    return true
  })
  const party = new TestParty(remote(t, { url: server.url }))
  t.match(await party.call('initialize'), { error: { code: -32603, data: { code: 'MCP_ERR_REMOTE_PROTOCOL' } } })
  there = true
  await party.start()
  t.match(await party.call('x'), { result: { echoed: 'x' } })
  const page = await scripted(t, asked => asked.what === 'GET' ? asked.response.writeHead(200, { 'content-type': 'text/html' }).end('<html>') : asked.status(405))
  t.match(await new TestParty(remote(t, { url: page.url })).call('initialize'), { error: { message: /neither its POST nor its GET/ } })
})

t.test('cancelling crosses, time runs out, and leaving ends the stream', async (t) => {
  const server = await sse(t, (asked) => {
    if (asked.what !== 'hangs') return
    asked.status(202)
    return true
  })
  const party = new TestParty(remote(t, { url: server.url, transport: 'sse', requestTimeout: 30 }))
  await party.start()
  const id = party.ask('hangs')
  party.tell('notifications/cancelled', { requestId: id })
  t.match((await server.next('notifications/cancelled')).json, { params: { requestId: id } })
  lastOf(server).say({ id, result: {} } as Json)
  const second = party.ask('hangs')
  t.match(await party.answer(second), { error: { data: { code: 'MCP_ERR_REQUEST_TIMEOUT' } } })
  t.match((await server.next('notifications/cancelled', 2)).json, { params: { requestId: second } })
  t.equal(party.heard.some(({ json }) => json.id === id), false)
  const left = new Promise(resolve => lastOf(server).response.once('close', resolve))
  await party.connection.close()
  await left
})
