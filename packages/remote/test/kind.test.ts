import t from 'tap'
import { remoteServer } from '@mcp-proxy/remote'
import { TestParty, remote } from './helpers/party.js'
import { scripted, type Asked } from './helpers/scripted.js'

const RESULT = { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 's', version: '1' } }

/** Whether the server is spoken to as a modern one, after it has said something to the question. */
async function verdict (t: Parameters<typeof scripted>[0], discovered: (asked: Asked) => void): Promise<{ what: string[], error: unknown }> {
  const server = await scripted(t, (asked) => {
    if (asked.what === 'server/discover' && asked.json.id === 'mcp-proxy-discover') discovered(asked)
    else if (asked.what === 'initialize') asked.result(RESULT)
    else if (asked.json.id === undefined) asked.status(asked.what === 'GET' ? 405 : 202)
    else asked.result({ supportedVersions: ['2026-07-28'], capabilities: {} })
  })
  const party = new TestParty(remote(t, { url: server.url }))
  const { error } = await party.call('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } })
  return { what: server.what(), error }
}

t.test('what only a modern server says makes it modern', async (t) => {
  const says: Array<(asked: Asked) => void> = [
    asked => asked.result({ supportedVersions: ['2026-07-28'] }),
    asked => asked.stream().say({ method: 'x' }).say({ id: asked.json.id, result: { supportedVersions: ['9', '2026-07-28'] } }).end(),
    asked => asked.error(-32022, { data: { supported: ['2026-07-28'] } }),
    asked => asked.error(-32020),
    asked => asked.error(-32021, { id: null }),
  ]
  for (const say of says) t.same((await verdict(t, say)).what, ['server/discover', 'server/discover'], say.toString())
})

t.test('everything else a server may say that shakes hands', async (t) => {
  const says: Array<(asked: Asked) => void> = [
    asked => asked.result({ supportedVersions: ['2025-11-25'] }),
    asked => asked.result({}),
    asked => asked.error(-32601, { status: 404 }),
    asked => asked.error(-32601, { status: 200 }),
    asked => asked.error(-32022, { data: { supported: ['2025-11-25'] } }),
    asked => asked.error(-32000),
    asked => asked.status(400),
    asked => asked.status(404),
    asked => asked.status(405),
    asked => asked.status(202),
    asked => asked.status(500),
    asked => asked.stream().end(),
    asked => asked.answer('not JSON'),
    asked => asked.result({ supportedVersions: ['2026-07-28', '2025-11-25'] }), // both: as the party does
  ]
  for (const say of says) t.same((await verdict(t, say)).what, ['server/discover', 'initialize'], say.toString())
})

t.test('what says nothing of the server is an error, and the next message asks again', async (t) => {
  for (const status of [401, 403, 429, 502, 503]) {
    const { what, error } = await verdict(t, asked => asked.status(status))
    t.same(what, ['server/discover'])
    t.match(error, { code: -32000, data: { code: status < 404 ? 'MCP_ERR_REMOTE_UNAUTHORIZED' : 'MCP_ERR_REMOTE_STATUS' } })
  }
  let count = 0
  const server = await scripted(t, asked => ++count === 1 ? asked.status(503) : asked.result(asked.what === 'initialize' ? RESULT : { supportedVersions: [] }))
  const party = new TestParty(remote(t, { url: server.url }))
  t.match(await party.call('initialize'), { error: { data: { code: 'MCP_ERR_REMOTE_STATUS' } } })
  t.match(await party.call('initialize'), { result: RESULT })
  t.same(server.what(), ['server/discover', 'server/discover', 'initialize'])
})

t.test('a party that has asked in the newer way without an answer may shake hands after all', async (t) => {
  const server = await scripted(t, (asked) => {
    if (asked.what === 'initialize') asked.result(RESULT)
    else if (asked.json.id === undefined) asked.status(asked.what === 'GET' ? 405 : 202)
    else if (asked.json.id === 'mcp-proxy-discover') asked.result({ supportedVersions: ['2026-07-28', '2025-06-18'] })
    else if (asked.what !== 'server/discover') asked.result({ echoed: asked.what })
  })
  const party = new TestParty(remote(t, { url: server.url }))
  const late = party.askModern('server/discover')
  await server.next('server/discover', 2)
  await party.start()
  t.match(await party.call('x'), { result: { echoed: 'x' } })
  t.equal(party.heard.some(({ json }) => json.id === late), false)
})

t.test('an era and a transport can be said, and are then not asked for', async (t) => {
  const server = await scripted(t, asked => asked.json.id === undefined ? asked.status(asked.what === 'GET' ? 405 : 202) : asked.result(RESULT))
  await new TestParty(remote(t, { url: server.url, era: 'legacy' })).start()
  await server.next('notifications/initialized')
  t.same(server.what().slice(0, 2), ['initialize', 'notifications/initialized'])
  const nothing = await scripted(t, asked => asked.status(404))
  t.match(await new TestParty(remote(t, { url: nothing.url, transport: 'stream' })).call('initialize'), { error: { data: { code: 'MCP_ERR_REMOTE_PROTOCOL' } } })
  t.notOk(nothing.what().includes('GET'))
})

t.test('options are judged at once, and secrets are not repeated', async (t) => {
  const url = 'http://127.0.0.1/mcp'
  const cases: Array<[unknown, RegExp]> = [
    [{ url: 'no url s3cret' }, /Option url must be an http: or https: URL/],
    [{ url: 'file:///etc/s3cret' }, /Option url .*"file:"/],
    [{ url, transport: 'tcp' }, /Option transport must be "auto" or "stream" or "sse", not "tcp"/],
    [{ url, era: 'old' }, /Option era .*"old"/],
    [{ url, era: 'modern', transport: 'sse' }, /Option transport/],
    [{ url, headers: { 'x y': 's3cret' } }, /Option headers .*"x y"/],
    [{ url, headers: { x: 's3cret\n' + 'y' } }, /Option headers .*"x"/],
    [{ url, headers: { x: 7 } }, /Option headers .*"x"/],
    [{ url, headers: 's3cret' }, /Option headers .*string/],
    [{ url, authProvider: {} }, /Option authProvider/],
    [{ url, fetch: 'x' }, /Option fetch/],
    [{ url, requestTimeout: -1 }, /Option requestTimeout/],
    [{ url, maxMessageBytes: 0 }, /Option maxMessageBytes/],
    [{ url, maxCalls: 0 }, /Option maxCalls/],
    [{ url, reconnect: { delay: -1 } }, /Option reconnect.delay/],
    [{ url, reconnect: { maxDelay: 'x' } }, /Option reconnect.maxDelay/],
    [{ url, reconnect: { maxRetries: 1.5 } }, /Option reconnect.maxRetries/],
  ]
  for (const [options, message] of cases) {
    try {
      remoteServer(options as Parameters<typeof remoteServer>[0])
      t.fail(JSON.stringify(options))
    } catch (error) {
      t.match(error, { code: 'MCP_ERR_OPTION', message })
      t.notMatch((error as Error).message, /s3cret/)
    }
  }
})

t.test('a function whose headers cannot be sent fails its request', async (t) => {
  const server = await scripted(t, asked => asked.status(404))
  const party = new TestParty(remote(t, { url: server.url, headers: () => ({ x: 's3cret\ny' }) }))
  const { error } = await party.call('initialize')
  t.match(error, { data: { code: 'MCP_ERR_OPTION' } })
  t.notMatch(JSON.stringify(error), /s3cret/)
})
