import t from 'tap'
import { TestParty, remote } from './helpers/party.js'
import { scripted, type Asked } from './helpers/scripted.js'

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
