import t from 'tap'
import { TestParty, makeLog, remote, type LogLine } from './helpers/party.js'
import { scripted, until, type Asked, type Json } from './helpers/scripted.js'

const KEY = 'io.modelcontextprotocol/subscriptionId'
const DISCOVERED = { resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } } }

/** A modern server; `more` answers what the test is about. */
function modern (more: (asked: Asked) => boolean | void = () => {}): (asked: Asked) => void {
  return (asked) => {
    if (more(asked) === true) return
    if (asked.what === 'server/discover') asked.result(DISCOVERED)
    else if (asked.json.id === undefined) asked.status(asked.what === 'GET' ? 405 : 202)
    else asked.result({ resultType: 'complete', echoed: asked.what })
  }
}

const tool = (name: string, properties: Json): Json => ({ name, inputSchema: { type: 'object', properties } })

t.test('each request says in headers what it is, with what no header can say encoded', async (t) => {
  const server = await scripted(t, modern())
  const party = new TestParty(remote(t, { url: server.url }))
  const cases: Array<[method: string, params: Json, name: string | undefined]> = [
    ['tools/call', { name: 'add' }, 'add'],
    ['tools/call', { name: ' größe ' }, `=?base64?${Buffer.from(' größe ').toString('base64')}?=`],
    ['tools/call', { name: '=?base64?YQ==?=' }, `=?base64?${Buffer.from('=?base64?YQ==?=').toString('base64')}?=`],
    ['prompts/get', { name: 'a\nb: c' }, '=?base64?YQpiOiBj?='],
    ['resources/read', { uri: 'x://y?z=1' }, 'x://y?z=1'],
    ['resources/list', { uri: 'x://y' }, undefined],
    ['tools/call', { name: 7 }, undefined],
  ]
  for (const [method, params, name] of cases) {
    t.match(await party.callModern(method, params), { result: { echoed: method } })
    const { headers, text } = server.asked.at(-1) as Asked
    t.match(headers, { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method, 'content-type': 'application/json', accept: 'application/json, text/event-stream' })
    t.equal(headers['mcp-name'], name)
    t.equal(headers['mcp-session-id'], undefined)
    t.match(text, JSON.stringify(params).slice(1, -1))
  }
  t.notOk(server.what().includes('initialize'))
})

t.test('headers of parameters are learned from lists that pass, and of bad annotations the tool is left out', async (t) => {
  const lines: LogLine[] = []
  const server = await scripted(t, modern((asked) => {
    if (asked.what !== 'tools/list') return
    const tools = [tool('find', { where: { type: 'string', 'x-mcp-header': 'Region' }, deep: { properties: { n: { type: 'integer', 'x-mcp-header': 'N' } } } }), tool('bad', { a: { type: 'object', 'x-mcp-header': 'A' } }), tool('plain', {})]
    asked.result({ resultType: 'complete', tools })
    return true
  }))
  const there = remote(t, { url: server.url, log: makeLog(lines) })
  const party = new TestParty(there)
  const { result } = await party.callModern('tools/list')
  t.same((result?.['tools'] as Json[]).map(({ name }) => name), ['find', 'plain'])
  t.ok(lines.some(({ level, object }) => level === 'warn' && JSON.stringify(object) === '{"tool":"bad"}'))
  await party.callModern('tools/call', { name: 'find', arguments: { where: 'Brünn', deep: { n: -7 } } })
  t.match(server.asked.at(-1)?.headers, { 'mcp-param-region': `=?base64?${Buffer.from('Brünn').toString('base64')}?=`, 'mcp-param-n': '-7' })
  await new TestParty(there).callModern('tools/call', { name: 'find', arguments: { where: null, deep: {} } })
  const headers = Object.keys(server.asked.at(-1)?.headers ?? {})
  t.notOk(headers.some(name => name.startsWith('mcp-param-')))
  await new TestParty(there, { principal: 'somebody else' }).callModern('tools/call', { name: 'find', arguments: { where: 'x' } })
  t.equal(server.asked.at(-1)?.headers['mcp-param-region'], undefined, 'who has not listed them does not know')
})

t.test('a call that is refused for its headers is made once more, when the tools have been listed', async (t) => {
  let strict = true
  const server = await scripted(t, modern((asked) => {
    if (asked.what === 'tools/list') asked.result(asked.json.params?.['cursor'] === undefined ? { tools: [], nextCursor: 'c' } : { tools: [tool('find', { where: { type: 'string', 'x-mcp-header': 'Region' } })] })
    else if (asked.what === 'tools/call' && (!strict || asked.headers['mcp-param-region'] === undefined)) asked.error(-32020, { message: 'Header mismatch' })
    else return
    return true
  }))
  const party = new TestParty(remote(t, { url: server.url }))
  t.match(await party.callModern('tools/call', { name: 'find', arguments: { where: 'x' } }), { result: { echoed: 'tools/call' } })
  t.same(server.what(), ['server/discover', 'tools/call', 'tools/list', 'tools/list', 'tools/call'])
  t.equal(party.heard.length, 1)
  strict = false
  t.match(await party.callModern('tools/call', { name: 'find', arguments: { where: 'x' } }), { error: { code: -32020 } })
  t.equal(server.what().filter(what => what === 'tools/call').length, 4)
})

t.test('an answer as a stream: what comes before it is about the request; a stream that breaks fails it', async (t) => {
  const server = await scripted(t, modern((asked) => {
    if (asked.what === 'good') asked.stream().say({ method: 'notifications/progress', params: { progress: 1 } }).say({ id: 's', method: 'roots/list' }).say({ id: asked.json.id, result: { n: 1 } }).end()
    else if (asked.what === 'broken') asked.stream().say({ method: 'notifications/progress' }, { id: 'e1' }).cut()
    else return
    return true
  }))
  const party = new TestParty(remote(t, { url: server.url }))
  const id = party.askModern('good')
  t.match(await party.answer(id), { result: { n: 1 } })
  t.same(party.heard.map(({ json, options }) => [json.method, options?.relatedRequestId]), [['notifications/progress', String(id)], [undefined, undefined]], 'and no request, which this revision has not')
  t.match(await party.callModern('broken'), { error: { data: { code: 'MCP_ERR_REMOTE_ENDED' } } })
  t.equal(server.what().filter(what => what === 'GET').length, 0)
})

t.test('cancelling ends the exchange, and nothing else is sent', async (t) => {
  const server = await scripted(t, modern(asked => asked.what === 'call' || asked.what === 'stream' ? (asked.what === 'stream' && asked.stream(), true) : undefined))
  const party = new TestParty(remote(t, { url: server.url }))
  for (const method of ['call', 'stream']) {
    const id = party.askModern(method)
    const { response } = await server.next(method)
    const left = new Promise(resolve => response.once('close', resolve))
    party.tell('notifications/cancelled', { requestId: id })
    await left
  }
  await party.callModern('x')
  t.equal(party.heard.length, 1)
  t.notOk(server.what().includes('notifications/cancelled'))
})

t.test('a subscription is opened again when its stream breaks: no second acknowledgement, but all that may have changed', async (t) => {
  const streams: Asked[] = []
  const honoured = { toolsListChanged: true, resourceSubscriptions: ['x://1'] }
  const server = await scripted(t, modern((asked) => {
    if (asked.what !== 'subscriptions/listen') return
    streams.push(asked)
    if (streams.length === 2) asked.status(503)
    else asked.stream().say({ method: 'notifications/subscriptions/acknowledged', params: { _meta: { [KEY]: asked.json.id }, notifications: honoured } })
    return true
  }))
  const party = new TestParty(remote(t, { url: server.url }))
  const id = party.askModern('subscriptions/listen', { notifications: { ...honoured, promptsListChanged: true } })
  t.equal((await party.told('notifications/subscriptions/acknowledged')).options?.relatedRequestId, String(id))
  t.equal(party.heard.length, 1)
  streams[0]?.cut()
  await party.told('notifications/resources/updated')
  t.same(party.heard.slice(1).map(({ json }) => json), [
    { jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { _meta: { [KEY]: id } } },
    { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { _meta: { [KEY]: id }, uri: 'x://1' } },
  ])
  t.equal(streams[2]?.text, streams[0]?.text)
  streams[2]?.say({ id, result: { resultType: 'complete', _meta: { [KEY]: id } } }).end()
  t.match(await party.answer(id), { result: { resultType: 'complete' } })
  await party.callModern('x')
  t.equal(streams.length, 3, 'one that the server has ended is not opened again')
})

t.test('a subscription that is refused, breaks before it begins, or cannot be had again, ends with an error', async (t) => {
  let way = 'refused'
  let count = 0
  const server = await scripted(t, modern((asked) => {
    if (asked.what !== 'subscriptions/listen') return
    count++
    if (way === 'refused') asked.error(-32601, { status: 404 })
    else if (way === 'early') asked.stream().cut()
    else if (way === 'page') asked.response.writeHead(200, { 'content-type': 'text/html' }).end()
    else if (count === 1) asked.stream().say({ method: 'notifications/subscriptions/acknowledged', params: { notifications: {} } })
    else asked.status(500)
    return true
  }))
  const party = new TestParty(remote(t, { url: server.url }))
  t.match(await party.callModern('subscriptions/listen'), { error: { code: -32601 } })
  way = 'early'
  t.match(await party.callModern('subscriptions/listen'), { error: { data: { code: 'MCP_ERR_REMOTE_ENDED' } } })
  way = 'page'
  t.match(await party.callModern('subscriptions/listen'), { error: { data: { code: 'MCP_ERR_REMOTE_PROTOCOL' } } })
  way = 'lost'
  count = 0
  const id = party.askModern('subscriptions/listen')
  await party.told('notifications/subscriptions/acknowledged')
  // what has not been read when a connection breaks is lost
  server.asked.at(-1)?.cut()
  t.match(await party.answer(id), { error: { data: { code: 'MCP_ERR_REMOTE_ENDED' } } })
  t.equal(count, 6, 'once, and five times more')
})

t.test('an outage that outlasts all attempts: what a party that shakes hands has subscribed to comes back with the first answer', async (t) => {
  const lines: LogLine[] = []
  let away = false
  const listens: Asked[] = []
  const server = await scripted(t, modern((asked) => {
    if (away) asked.cut()
    else if (asked.what === 'subscriptions/listen') {
      listens.push(asked)
      asked.stream().say({ method: 'notifications/subscriptions/acknowledged', params: { _meta: { [KEY]: asked.json.id }, notifications: asked.json.params?.['notifications'] } })
    } else return
    return true
  }))
  const party = new TestParty(remote(t, { url: server.url }), { log: makeLog(lines) })
  await party.start()
  t.match(await party.call('resources/subscribe', { uri: 'x://1' }), { result: {} })
  await until(() => listens.length === 2)
  away = true
  for (const listen of listens.splice(0)) listen.cut()
  await until(() => lines.filter(({ level }) => level === 'warn').length === 2)
  t.match(await party.call('tools/list'), { error: { data: { code: 'MCP_ERR_REMOTE_UNREACHABLE' } } })
  t.equal(listens.length, 0)
  away = false
  t.match(await party.call('tools/list'), { result: { echoed: 'tools/list' } })
  t.match((await party.told('notifications/resources/updated')).json.params, { uri: 'x://1' })
  await party.told('notifications/tools/list_changed')
  await party.told('notifications/resources/list_changed')
  const again = listens.find(({ text }) => text.includes('resourceSubscriptions')) as Asked
  again.say({ method: 'notifications/resources/updated', params: { _meta: { [KEY]: again.json.id }, uri: 'x://1' } })
  await party.told('notifications/resources/updated', 2)
})

t.test('a subscription survives a server that says itself that it is away', async (t) => {
  let count = 0
  const server = await scripted(t, modern((asked) => {
    if (asked.what !== 'subscriptions/listen') return
    if (++count === 2) asked.error(-32000, { status: 503 })
    else asked.stream().say({ method: 'notifications/subscriptions/acknowledged', params: { notifications: { toolsListChanged: true } } })
    return true
  }))
  const party = new TestParty(remote(t, { url: server.url }))
  party.askModern('subscriptions/listen', { notifications: { toolsListChanged: true } })
  await party.told('notifications/subscriptions/acknowledged')
  server.asked.at(-1)?.cut()
  await party.told('notifications/tools/list_changed')
  t.equal(count, 3)
})

t.test('leaving ends what is open', async (t) => {
  const server = await scripted(t, modern(asked => asked.what === 'call'))
  const party = new TestParty(remote(t, { url: server.url }))
  party.askModern('call')
  const { response } = await server.next('call')
  const left = new Promise(resolve => response.once('close', resolve))
  await party.connection.close()
  await left
  t.equal(party.heard.length, 0)
})

t.test('a party that shakes hands before a server that does not, and the reverse', async (t) => {
  const there = await scripted(t, modern())
  const legacy = new TestParty(remote(t, { url: there.url }))
  await legacy.start()
  t.match(await legacy.call('tools/call', { name: 'x', arguments: {} }), { result: { echoed: 'tools/call' } })
  t.match(there.asked.at(-1)?.headers, { 'mcp-name': 'x', 'mcp-method': 'tools/call' })
  t.notOk(there.what().includes('initialize'))

  const old = await scripted(t, (asked) => {
    if (asked.what === 'initialize') asked.result({ protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 's', version: '1' } }, { 'mcp-session-id': 's' })
    else if (asked.json.id === undefined) asked.status(asked.what === 'GET' ? 405 : 202)
    else if (asked.what === 'server/discover') asked.error(-32601)
    else asked.result({ echoed: asked.what })
  })
  const modernParty = new TestParty(remote(t, { url: old.url }))
  t.match(await modernParty.callModern('tools/call', { name: 'x', arguments: {} }), { result: { echoed: 'tools/call', resultType: 'complete' } })
  await until(() => old.what().includes('initialize'))
})

t.test('headers that depend on who asks: their sessions are not shared', async (t) => {
  let count = 0
  const server = await scripted(t, (asked) => {
    if (asked.what === 'initialize') asked.result({ protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 's', version: '1' } }, { 'mcp-session-id': `s${++count}` })
    else if (asked.json.id === undefined) asked.status(asked.what === 'GET' ? 405 : 202)
    else asked.result({ session: asked.headers['mcp-session-id'], user: asked.headers['x-user'] })
  })
  const there = remote(t, { url: server.url, era: 'legacy', headers: ({ id }) => ({ 'x-user': id }) })
  for (const [n, id] of ['ann', 'bob'].entries()) t.match(await new TestParty(there, { id }).callModern('x'), { result: { user: id, session: `s${n + 1}` } })
})
