import t from 'tap'
import { TestParty, remote } from './helpers/party.js'
import { scripted, until, type Asked } from './helpers/scripted.js'

const RESULT = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 's', version: '1' } }
const INITIALIZE = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }

t.test('what is on its way when a server turns out to be one of HTTP+SSE is handed over too, to one stream', async (t) => {
  const refused: Asked[] = []
  let stream: Asked | undefined
  const server = await scripted(t, (asked) => {
    if (asked.what === 'server/discover') return asked.error(-32601)
    if (asked.what === 'GET') {
      stream = asked.stream().say('/messages', { event: 'endpoint' })
    } else if (asked.path === '/mcp') {
      // the answers come when both requests are there
      if (refused.push(asked) === 2) for (const one of refused) one.status(405)
    } else {
      asked.status(202)
      if (asked.json.id !== undefined) stream?.say({ id: asked.json.id, result: asked.what === 'initialize' ? RESULT : {} })
    }
  })
  const party = new TestParty(remote(t, { url: server.url }))
  const ids = [party.ask('ping'), party.ask('initialize', INITIALIZE)]
  for (const id of ids) t.hasProp(await party.answer(id), 'result')
  t.match(await party.call('tools/list'), { result: {} })
  t.equal(server.what().filter(what => what === 'GET').length, 1)
  t.equal(party.heard.length, 3)
})

t.test('an answer to a handshake that only looks like JSON is told as an error, and the next handshake may work', async (t) => {
  let broken = true
  const server = await scripted(t, (asked) => {
    if (asked.what === 'server/discover') return asked.error(-32601)
    if (asked.what !== 'initialize') return asked.status(asked.what === 'GET' ? 405 : 202)
    if (broken) asked.answer(`{"jsonrpc":"2.0","id":${JSON.stringify(asked.json.id)},"result":{"protocolVersion":"2025-11-25","capabilities":{oops}}}`)
    else asked.result(RESULT)
  })
  const there = remote(t, { url: server.url })
  const party = new TestParty(there)
  t.match(await party.call('initialize', INITIALIZE), { error: { data: { code: 'MCP_ERR_REMOTE_ENDED' } } })
  t.match(await new TestParty(there).callModern('tools/list'), { error: { data: { code: 'MCP_ERR_CHILD_HANDSHAKE' } } }, 'a party that does not shake hands')
  broken = false
  t.match(await party.call('initialize', INITIALIZE), { result: RESULT })
})

t.test('a list of tools that only looks like JSON is told as an error', async (t) => {
  const server = await scripted(t, (asked) => {
    if (asked.what === 'server/discover') return asked.result({ supportedVersions: ['2026-07-28'], capabilities: {}, resultType: 'complete' })
    asked.answer(`{"jsonrpc":"2.0","id":${JSON.stringify(asked.json.id)},"result":{"tools":[{"x-mcp-header":oops}]}}`)
  })
  const party = new TestParty(remote(t, { url: server.url }))
  t.match(await party.callModern('tools/list'), { error: { data: { code: 'MCP_ERR_REMOTE_ENDED' } } })
})

t.test('a page of some gateway says nothing about what a server is that is not there yet', async (t) => {
  let there = false
  const server = await scripted(t, (asked) => {
    if (!there) return asked.status(404)
    if (asked.what === 'server/discover') return asked.result({ supportedVersions: ['2026-07-28'], capabilities: {}, resultType: 'complete' })
    if (asked.what === 'tools/list') return asked.result({ tools: [], resultType: 'complete' })
    asked.error(-32022, { data: { supported: ['2026-07-28'] } })
  })
  const behind = remote(t, { url: server.url })
  t.match(await new TestParty(behind).callModern('tools/list'), { error: { data: { code: 'MCP_ERR_CHILD_HANDSHAKE' } } })
  there = true
  t.match(await new TestParty(behind).callModern('tools/list'), { result: { tools: [] } })
})

t.test('a server that cannot be asked, but shakes hands, is asked once', async (t) => {
  const server = await scripted(t, (asked) => {
    if (asked.what === 'initialize') return asked.result(RESULT)
    asked.status(asked.what === 'server/discover' ? 400 : asked.what === 'GET' ? 405 : 202)
  })
  const there = remote(t, { url: server.url })
  await new TestParty(there).start()
  await new TestParty(there).start()
  t.equal(server.what().filter(what => what === 'server/discover').length, 1)
})

t.test('what is asked while a session is opened again waits for its handshake', async (t) => {
  let [live, count, introduced, early] = [true, 0, true, false]
  let held: Asked | undefined
  const server = await scripted(t, (asked) => {
    const { what, json, headers } = asked
    if (what === 'server/discover') return asked.error(-32601)
    if (what === 'initialize') {
      live = true
      introduced = count === 0
      return asked.result(RESULT, { 'mcp-session-id': `s${++count}` })
    }
    if (!live || headers['mcp-session-id'] !== `s${count}`) {
      if (what === 'late') held = asked
      else asked.status(404)
    } else if (what === 'GET') {
      asked.status(405)
    } else if (what === 'notifications/initialized' && !introduced) {
      // it is told of the old session when there is a new one, which takes a moment to begin
      held?.status(404)
      setTimeout(() => {
        introduced = true
        asked.status(202)
      }, 50)
    } else if (json.id === undefined) {
      asked.status(202)
    } else {
      early ||= !introduced
      asked.result({})
    }
  })
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  await party.call('x')
  live = false
  const late = party.ask('late')
  await until(() => held !== undefined)
  await party.call('other')
  t.hasProp(await party.answer(late), 'result')
  t.equal(count, 2)
  t.notOk(early)
})

t.test('a server that wants no pause, and ends each stream with an event, is given one', async (t) => {
  let [rested, early] = [true, false]
  const server = await scripted(t, (asked) => {
    if (asked.what === 'server/discover') return asked.error(-32601)
    if (asked.what === 'initialize') return asked.result(RESULT)
    if (asked.what !== 'GET') return asked.status(202)
    early ||= !rested
    rested = false
    asked.stream().response.end('retry: 0\nid: 1\ndata: {"jsonrpc":"2.0","method":"notifications/x"}\n\n', () => {
      setTimeout(() => { rested = true }, 50)
    })
  })
  const party = new TestParty(remote(t, { url: server.url }))
  await party.start()
  await party.told('notifications/x', 3)
  t.notOk(early)
})
