import t from 'tap'
import { TestParty, makeLog, remote, type LogLine } from './helpers/party.js'
import { scripted, until, type Asked } from './helpers/scripted.js'

const CAPABILITIES = { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true }, prompts: {}, logging: {} }
const RESULT = { protocolVersion: '2025-06-18', capabilities: CAPABILITIES, serverInfo: { name: 's', version: '1' } }

/** A server of Streamable HTTP that forgets sessions on demand; `more` answers what the rules of sessions do not. */
function sessions (more: (asked: Asked) => boolean | void = () => {}): { handle: (asked: Asked) => void, forget: () => void, ids: () => number } {
  let count = 0
  let live: string | undefined
  const handle = (asked: Asked): void => {
    const { what, headers } = asked
    if (what === 'server/discover') return asked.error(-32600, { message: 'Bad Request: Server not initialized' })
    if (what === 'initialize') {
      live = `session-${++count}`
      return asked.result(RESULT, { 'mcp-session-id': live })
    }
    if (headers['mcp-session-id'] !== live) return asked.status(404)
    if (more(asked) === true) return
    if (what === 'GET') return asked.status(405)
    if (what === 'DELETE') return asked.status(200)
    if (asked.json.id === undefined || what === 'response') return asked.status(202)
    asked.result({ echoed: what })
  }
  return { handle, forget: () => { live = undefined }, ids: () => count }
}

t.test('one session for one party: its id and revision go with all that follows, and it is ended', async (t) => {
  const server = await scripted(t, sessions().handle)
  const there = remote(t, { url: server.url, headers: { 'x-key': 'k' } })
  const [one, two] = [new TestParty(there), new TestParty(there)]
  await one.start()
  t.match(await one.call('tools/list'), { result: { echoed: 'tools/list' } })
  await two.start()
  await one.connection.close()
  await there.close()
  const first = server.asked.filter(({ headers }) => headers['mcp-session-id'] === 'session-1')
  t.same(first.map(({ what }) => what).toSorted(), ['DELETE', 'GET', 'notifications/initialized', 'tools/list'])
  for (const { headers } of first) t.equal(headers['mcp-protocol-version'], '2025-06-18')
  for (const { headers } of server.asked) t.equal(headers['x-key'], 'k')
  t.equal(server.asked.find(({ what }) => what === 'initialize')?.headers['mcp-session-id'], undefined)
  t.equal(server.what().filter(what => what === 'server/discover').length, 1, 'the verdict is kept')
  t.equal(server.what().filter(what => what === 'DELETE').length, 2)
})

t.test('a message keeps its bytes, both ways, and a line stays one line', async (t) => {
  const body = '{"jsonrpc":"2.0","id":12345678901234567890,"method":"x","params":{"b":1.0,"a":1e999}}'
  const server = await scripted(t, sessions((asked) => {
    if (asked.what !== 'x') return
    asked.answer('{ "result":\r\n{"n": 12345678901234567890},\n"id":12345678901234567890,\r"jsonrpc":"2.0" }\n')
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  party.write(body)
  t.equal((await server.next('x')).text, body)
  await until(() => party.heard.length === 2)
  t.equal(party.heard[1]?.text, '{ "result":  {"n": 12345678901234567890}, "id":12345678901234567890, "jsonrpc":"2.0" }')
})

t.test('what follows a notification is sent when that has arrived, and requests do not wait for each other', async (t) => {
  const held: Asked[] = []
  const server = await scripted(t, sessions((asked) => {
    if (asked.what !== 'notifications/initialized' && asked.what !== 'slow') return
    held.push(asked)
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  party.ask('slow')
  const fast = party.ask('fast')
  await until(() => held.length === 1)
  t.notOk(server.what().includes('slow'))
  held[0]?.status(202)
  await party.answer(fast)
  t.equal(held.length, 2)
})

t.test('messages on the stream of a request are about it, the others about none', async (t) => {
  const server = await scripted(t, sessions((asked) => {
    if (asked.what === 'GET') asked.stream().say({ method: 'notifications/tools/list_changed' }, { id: 'g1' })
    else if (asked.what === 'call') {
      asked.stream().say({ method: 'notifications/progress', params: { progress: 1 } }, { event: 'message' })
      asked.say({ id: 'ask-1', method: 'roots/list' }).say('garbage').say({ id: asked.json.id, result: {} }).end()
    } else return
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  t.equal((await party.told('notifications/tools/list_changed')).options?.relatedRequestId, undefined)
  const id = party.ask('call')
  await party.answer(id)
  t.same(party.heard.slice(-3).map(({ json, options }) => [json.method, options?.relatedRequestId]), [['notifications/progress', String(id)], ['roots/list', String(id)], [undefined, undefined]])
  party.write('{"jsonrpc":"2.0","id":"ask-1","result":{"roots":[]}}')
  t.match((await server.next('response')).json, { id: 'ask-1', result: { roots: [] } })
})

t.test('a forgotten session: another is opened, and the message is sent once more, which the party does not see', async (t) => {
  const { handle, forget, ids } = sessions()
  const server = await scripted(t, handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start({ sampling: {} })
  await party.call('logging/setLevel', { level: 'info' })
  await party.call('resources/subscribe', { uri: 'x://1' })
  await party.call('resources/subscribe', { uri: 'x://2' })
  await party.call('resources/unsubscribe', { uri: 'x://1' })
  forget()
  const before = server.asked.length
  const [one, two] = [party.ask('one'), party.ask('two')]
  t.match(await party.answer(one), { result: { echoed: 'one' } })
  t.match(await party.answer(two), { result: { echoed: 'two' } })
  t.equal(ids(), 2, 'one session for both')
  const since = server.asked.slice(before)
  t.match(since.find(({ what }) => what === 'initialize')?.json, { params: { capabilities: { sampling: {} }, clientInfo: { name: 'test' } } })
  const repeated = since.filter(({ what, headers }) => what !== 'GET' && headers['mcp-session-id'] === 'session-2').map(({ what }) => what)
  t.same(repeated.slice(0, 3), ['notifications/initialized', 'logging/setLevel', 'resources/subscribe'])
  t.match(since.find(({ what }) => what === 'resources/subscribe')?.json, { params: { uri: 'x://2' } })
  t.same(since.filter(({ what }) => what === 'one').length, 2)
  await party.told('notifications/resources/list_changed')
  t.equal(party.of('notifications/tools/list_changed').length, 1)
  t.equal(party.of('notifications/prompts/list_changed').length, 0, 'what the server does not offer')
  t.equal(party.heard.filter(({ json }) => json.method === undefined).length, 7, 'no answer that was not asked for')
})

t.test('a session that samples of an SDK have forgotten: 400, and words about a session', async (t) => {
  let known = true
  const server = await scripted(t, sessions((asked) => {
    if (asked.what !== 'x' || known) return
    known = true
    asked.error(-32000, { message: 'Bad Request: No valid session ID provided', id: null })
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  known = false
  t.match(await party.call('x'), { result: { echoed: 'x' } })
  t.equal(server.what().filter(what => what === 'initialize').length, 2)
})

t.test('a server that forgets each session at once is not asked for ever', async (t) => {
  const server = await scripted(t, asked => asked.what === 'initialize' ? asked.result(RESULT, { 'mcp-session-id': 's' }) : asked.status(404))
  const party = new TestParty(remote(t, { url: server.url, era: 'legacy' }))
  await party.start()
  t.match(await party.call('x'), { error: { code: -32603, data: { code: 'MCP_ERR_REMOTE_PROTOCOL' } } })
  t.equal(server.what().filter(what => what === 'x').length, 2)
})

t.test('the stream of a call that breaks is resumed after its last event', async (t) => {
  const server = await scripted(t, sessions((asked) => {
    if (asked.what === 'call') asked.stream().say('', { id: 'e0' }).say({ method: 'notifications/progress', params: { progress: 1 } }, { id: 'e1' })
    else if (asked.headers['last-event-id'] === 'e1') asked.stream().say({ method: 'notifications/progress', params: { progress: 2 } }, { id: 'e2' }).end()
    else if (asked.headers['last-event-id'] === 'e2') asked.stream().say({ id: 2, result: { done: true } }, { id: 'e3' }).end()
    else return
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  const id = party.ask('call')
  await party.told('notifications/progress')
  // what has not been read when a connection breaks is lost
  server.asked.at(-1)?.cut()
  t.match(await party.answer(id), { id: 2, result: { done: true } })
  t.same(party.of('notifications/progress').map(({ json, options }) => [json.params?.['progress'], options?.relatedRequestId]), [[1, '2'], [2, '2']])
  t.equal(server.what().filter(what => what === 'call').length, 1, 'it is not made twice')
})

t.test('a stream that cannot be resumed fails its call', async (t) => {
  const server = await scripted(t, sessions((asked) => {
    if (asked.what === 'without ids') asked.stream().say({ method: 'notifications/progress' }).cut()
    else if (asked.what === 'refused') asked.stream().say({ method: 'notifications/progress' }, { id: 'e1' }).end()
    else if (asked.what === 'silent') asked.stream().end()
    else if (asked.headers['last-event-id'] !== undefined) asked.status(400)
    else return
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  for (const method of ['without ids', 'refused', 'silent']) t.match(await party.call(method), { error: { code: -32000, data: { code: 'MCP_ERR_REMOTE_ENDED' } } }, method)
  t.match(await party.call('x'), { result: { echoed: 'x' } }, 'the session lives')
})

t.test('the stream of its own is opened again after its last event, and anew where that is not known any more', async (t) => {
  const server = await scripted(t, sessions((asked) => {
    if (asked.what !== 'GET') return
    const after = asked.headers['last-event-id']
    const n = server.what().filter(what => what === 'GET').length
    if (n === 1) asked.stream().say({ method: 'notifications/message', params: { n } }, { id: 'g1' })
    else if (n === 2) asked.status(503)
    else if (after === 'g1') asked.status(400)
    else asked.stream().say({ method: 'notifications/message', params: { n } })
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  await party.told('notifications/message')
  ;(await server.next('GET')).cut()
  await party.told('notifications/message', 2)
  t.same(server.asked.filter(({ what }) => what === 'GET').map(({ headers }) => headers['last-event-id']), [undefined, 'g1', 'g1', undefined])
})

t.test('a server without a stream of its own is not asked for it again', async (t) => {
  const server = await scripted(t, sessions().handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  await server.next('GET')
  for (let n = 0; n < 3; n++) await party.call('x')
  t.equal(server.what().filter(what => what === 'GET').length, 1)
})

t.test('a stream whose session is forgotten leads to another session', async (t) => {
  const { handle, forget, ids } = sessions((asked) => {
    if (asked.what === 'GET') asked.stream()
    return asked.what === 'GET'
  })
  const server = await scripted(t, handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  const stream = await server.next('GET')
  forget()
  stream.cut()
  await party.told('notifications/tools/list_changed')
  t.equal(ids(), 2)
})

t.test('cancelling crosses, and no late answer does', async (t) => {
  let call: Asked | undefined
  const server = await scripted(t, sessions((asked) => {
    if (asked.what !== 'call') return
    call = asked
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  const id = party.ask('call')
  await server.next('call')
  party.tell('notifications/cancelled', { requestId: id, reason: 'enough' })
  t.match((await server.next('notifications/cancelled')).json, { params: { requestId: id, reason: 'enough' } })
  call?.result({ late: true })
  await party.call('x')
  t.equal(party.heard.some(({ json }) => json.id === id), false)
  t.match(await party.answer(party.ask('y')), { result: { echoed: 'y' } })
})

t.test('a call that takes too long fails, and is cancelled', async (t) => {
  const server = await scripted(t, sessions(asked => asked.what === 'call').handle)
  const party = new TestParty(remote(t, { url: server.url, requestTimeout: 20 }))
  await party.start()
  const id = party.ask('call')
  t.match(await party.answer(id), { error: { code: -32001, data: { code: 'MCP_ERR_REQUEST_TIMEOUT' } } })
  t.match((await server.next('notifications/cancelled')).json, { params: { requestId: id } })
})

t.test('what a server says with an error status reaches the party, what it does not say is coded', async (t) => {
  const server = await scripted(t, sessions((asked) => {
    if (asked.what === 'own') asked.error(-32602, { data: { n: 1 } })
    else if (asked.what === 'no id') asked.error(-32600, { id: null })
    else if (asked.what === 'busy') asked.status(503, { 'retry-after': '7' })
    else if (asked.what === 'page') asked.response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')
    else if (asked.what === 'accepted') asked.status(202)
    else if (asked.what === 'other') asked.answer({ jsonrpc: '2.0', id: 'other', result: {} })
    else if (asked.what === 'broken') asked.response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' }).write('{', () => asked.cut())
    else if (asked.what === 'forbidden') asked.status(403)
    else return
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  t.match(await party.call('own'), { error: { code: -32602, message: 'no', data: { n: 1 } } })
  t.match(await party.call('no id'), { error: { code: -32600 } })
  t.match(await party.call('busy'), { error: { code: -32000, message: /HTTP status 503/, data: { code: 'MCP_ERR_REMOTE_STATUS' } } })
  t.match(party.heard.at(-1)?.options, { status: 502, local: true, retryAfter: 7 })
  for (const method of ['page', 'accepted', 'other']) t.match(await party.call(method), { error: { code: -32603, data: { code: 'MCP_ERR_REMOTE_PROTOCOL' } } }, method)
  t.match(await party.call('broken'), { error: { data: { code: 'MCP_ERR_REMOTE_ENDED' } } })
  t.match(await party.call('forbidden'), { error: { data: { code: 'MCP_ERR_REMOTE_UNAUTHORIZED' } } })
})

t.test('messages over the limit fail their call, wherever they come', async (t) => {
  const large = 'x'.repeat(5_000)
  const server = await scripted(t, sessions((asked) => {
    if (asked.what === 'json') asked.result({ large })
    else if (asked.what === 'event') asked.stream().say({ id: asked.json.id, result: { large } }).end()
    else if (asked.what === 'endless') asked.stream().response.write(`data: ${large}`)
    else return
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url, maxMessageBytes: 2_000 }))
  await party.start()
  for (const method of ['json', 'event', 'endless']) t.match(await party.call(method), { error: { code: -32603, data: { code: 'MCP_ERR_REMOTE_MESSAGE_SIZE' } } }, method)
  t.match(await party.call('x'), { result: { echoed: 'x' } })
})

t.test('answers that nobody waits for, to ids that are taken, and twice, go nowhere', async (t) => {
  const server = await scripted(t, sessions((asked) => {
    if (asked.what !== 'call') return
    asked.stream().say({ id: 99, result: {} }).say({ id: asked.json.id, result: { n: 1 } }).say({ id: asked.json.id, result: { n: 2 } }).say({ id: null, error: { code: 1, message: '' } }).end()
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  t.match(await party.call('call'), { result: { n: 1 } })
  await party.call('x')
  t.equal(party.heard.length, 3)
})

t.test('a party has so many calls open, and one of each id', async (t) => {
  const server = await scripted(t, sessions(asked => asked.what === 'call').handle)
  const party = new TestParty(remote(t, { url: server.url, maxCalls: 2 }))
  await party.start()
  const id = party.ask('call')
  party.write(JSON.stringify({ jsonrpc: '2.0', id, method: 'call' }))
  t.match(await party.answer(id), { error: { data: { code: 'MCP_ERR_ID_IN_USE' } } })
  party.ask('call')
  t.match(await party.call('call'), { error: { data: { code: 'MCP_ERR_CALL_LIMIT' } } })
})

t.test('a slow reader slows the server down', async (t) => {
  const line = 'x'.repeat(100_000)
  let written = 0
  const server = await scripted(t, sessions((asked) => {
    if (asked.what !== 'call') return
    asked.stream()
    const more = (): void => {
      while (written < 2_000 && asked.response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', method: 'n', params: { line } })}\n\n`)) written++
      if (written < 2_000) asked.response.once('drain', () => { written++; more() })
    }
    more()
    return true
  }).handle)
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  party.slow = new Promise(() => {})
  party.ask('call')
  await party.told('n')
  let before = -1
  while (before !== written) {
    before = written
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  t.ok(written < 2_000, `${written} of 2000 were written`)
  t.equal(party.of('n').length, 1)
})

t.test('nothing that is secret is logged or told', async (t) => {
  const lines: LogLine[] = []
  const server = await scripted(t, sessions((asked) => {
    if (asked.what !== 'fail') return
    asked.cut()
    return true
  }).handle)
  const url = new URL(server.url)
  url.username = 'ann'
  url.password = 's3cret'
  url.search = '?key=s3cret'
  const party = new TestParty(remote(t, { url, headers: { authorization: 'Bearer s3cret' }, log: makeLog(lines) }))
  await party.start()
  t.equal(server.asked[0]?.headers.authorization, 'Bearer s3cret', 'the option wins over the URL')
  await party.call('fail', { secret: 's3cret' })
  party.tell('notifications/fail', { secret: 's3cret' })
  await party.call('x')
  const text = lines.map(({ object, text }) => `${text} ${JSON.stringify(object, (_, value: unknown) => value instanceof Error ? { ...value, message: value.message, cause: value.cause } : value)}`).join('\n')
  t.notMatch(text, /s3cret/)
  t.notMatch(party.heard.map(({ text }) => text).join('\n'), /s3cret/)
})

t.test('a user and a password in the URL are sent', async (t) => {
  const server = await scripted(t, sessions().handle)
  const party = new TestParty(remote(t, { url: server.url.replace('//', '//ann:p%40ss@') }))
  await party.start()
  t.equal(server.asked[0]?.headers.authorization, `Basic ${Buffer.from('ann:p@ss').toString('base64')}`)
})

t.test('redirects are followed on the same origin, with the method and the body', async (t) => {
  const { handle } = sessions()
  const server = await scripted(t, (asked) => {
    if (asked.path === '/mcp') asked.status(307, { location: '/elsewhere?x=1' })
    else handle(asked)
  })
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  t.match(await party.call('x'), { result: { echoed: 'x' } })

  const other = await scripted(t, asked => asked.status(500))
  const leading = await scripted(t, asked => asked.status(308, { location: `${other.url}?token=1` }))
  const error = await new TestParty(remote(t, { url: leading.url, headers: { 'x-key': 'k' } })).call('initialize')
  t.match(error, { error: { message: new RegExp(`it redirects to ${new URL(other.url).origin}$`), data: { code: 'MCP_ERR_REMOTE_PROTOCOL' } } })
  t.equal(other.asked.length, 0)

  const circle = await scripted(t, asked => asked.status(302, { location: '/mcp' }))
  t.match(await new TestParty(remote(t, { url: circle.url })).call('initialize'), { error: { message: /redirects more than 5 times/ } })
  const away = await scripted(t, asked => asked.status(303, { location: '/login' }))
  t.match(await new TestParty(remote(t, { url: away.url })).call('initialize'), { error: { data: { code: 'MCP_ERR_REMOTE_STATUS' } } })
})

t.test('a server that is not there is told so, and the next message tries again', async (t) => {
  const server = await scripted(t, sessions().handle)
  let there = false
  const party = new TestParty(remote(t, {
    url: server.url,
    fetch: (input, init) => there ? fetch(input, init) : Promise.reject(Object.assign(new TypeError('fetch failed'), { cause: Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }) })),
  }))
  t.match(await party.call('initialize'), { error: { code: -32000, message: /ECONNREFUSED$/, data: { code: 'MCP_ERR_REMOTE_UNREACHABLE' } } })
  there = true
  await party.start()
  t.match(await party.call('x'), { result: { echoed: 'x' } })
  there = false
  t.match(await party.call('x'), { error: { data: { code: 'MCP_ERR_REMOTE_UNREACHABLE' } } })
  there = true
  t.match(await party.call('x'), { result: { echoed: 'x' } })
})

t.test('closing tells parties', async (t) => {
  const server = await scripted(t, sessions().handle)
  const there = remote(t, { url: server.url })
  const party = new TestParty(there)
  await party.start()
  await there.close()
  await there.close()
  t.ok(party.closed)
  t.ok(server.what().includes('DELETE'))
})
