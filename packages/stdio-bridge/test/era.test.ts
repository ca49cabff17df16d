import t from 'tap'
import { fileURLToPath } from 'node:url'
import { makeBridge, script, until, type Client, type TestBridge } from './helpers/bridge.js'
import { asModern, MODERN_CHILD } from './helpers/modern.js'

const fixture = (name: string): string => fileURLToPath(new URL(`../../../test/fixtures/${name}`, import.meta.url))
const CHILD_LOG = { MCP_CHILD_LOG: '1' }

/** The lines that children have read, by method. */
const heard = ({ log }: TestBridge): string[] => log.stderrLines(/^\{/).map(line => (JSON.parse(line) as { method: string }).method)

/** A server that shakes hands, with a way of its own to take a request that it does not know. */
const legacy = (unknown: string): readonly string[] => script(`
  require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
    process.stderr.write(line + '\\n')
    const { id, method, params } = JSON.parse(line)
    if (method === 'initialize') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 'old', version: '1' } } }))
    else if (method === 'x/ping') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { pong: process.pid } }))
    else if (id !== undefined) { ${unknown} }
  })`)

const WAYS = {
  'answers with an error': 'console.log(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32601, message: "no" } }))',
  'answers with an error of its own': 'console.log(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -1, message: "initialize first" } }))',
  'answers with some result': 'console.log(JSON.stringify({ jsonrpc: "2.0", id, result: {} }))',
  'names no revision without handshake': 'console.log(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32022, message: "no", data: { supported: ["2025-11-25"] } } }))',
  'says nothing': '',
  exits: 'process.exit(1)',
  dies: 'process.kill(process.pid, "SIGKILL")',
}

for (const [how, source] of Object.entries(WAYS)) {
  for (const isolation of ['shared', 'session', 'request'] as const) {
    t.test(`a server that ${how} is one that shakes hands: isolation ${isolation}`, async (t) => {
      const made = makeBridge(t, { command: legacy(source), isolation, probeTimeout: how === 'says nothing' ? 200 : 30_000, warm: { size: 0 } })
      const client = made.client()
      t.equal((await client.initialize()).result?.['protocolVersion'], '2025-06-18')
      t.match((await client.request(1, 'x/ping')).result, { pong: Number })
      await made.log.stderr(/"server\/discover"/)
      const before = heard(made).filter(method => method === 'server/discover').length
      t.equal(before, 1, 'it was asked')
      // the verdict is kept: the next child is not asked
      const next = made.client()
      await next.initialize({ sampling: {} })
      t.match((await next.request(1, 'x/ping')).result, { pong: Number })
      t.equal(heard(made).filter(method => method === 'server/discover').length, 1, 'once')
      t.equal(made.log.items.filter(({ text }) => text === 'server ended at the question whether it shakes hands; it is started again').length, how === 'exits' || how === 'dies' ? 1 : 0)
    })
  }
}

t.test('the handshake of a client with a child of its own goes through as it is, also when the server had to be asked first', async (t) => {
  const made = makeBridge(t, { command: legacy(WAYS['answers with an error']), isolation: 'session' })
  const client = made.client()
  await client.initialize({ roots: { listChanged: true }, experimental: { x: 1 } }, '2025-03-26')
  // what a child writes to stderr comes by a pipe of its own
  await made.log.stderr(/"initialize"/)
  const line = made.log.stderrLines(/"initialize"/)
  t.equal(line.length, 1)
  t.match(JSON.parse(String(line[0])), { params: { protocolVersion: '2025-03-26', capabilities: { roots: { listChanged: true }, experimental: { x: 1 } }, clientInfo: { name: 'test', version: '1' } } })
  t.equal(made.bridge.status().children.filter(({ scope }) => scope !== 'spare').length, 1, 'by the child that was asked')
})

t.test('a server that can do both is spoken to without a handshake', async (t) => {
  const made = makeBridge(t, { command: MODERN_CHILD, env: { ...CHILD_LOG, MCP_CHILD_ERA: 'dual' } })
  await made.bridge.start()
  await until(() => heard(made).length > 0)
  t.same(heard(made), ['server/discover'])
  t.match((await asModern(made.client()).request(1, 'tools/call', { name: 'echo', arguments: { text: 'hi' } })).result, { resultType: 'complete' })
})

t.test('a server that is slow to start is recognized all the same', async (t) => {
  const made = makeBridge(t, { command: MODERN_CHILD, env: { ...CHILD_LOG, MCP_CHILD_ERA: 'slow' }, probeTimeout: 100 })
  await made.bridge.start()
  await until(() => heard(made).length >= 2)
  t.same(heard(made).slice(0, 2), ['server/discover', 'initialize'], 'it had been taken for one that says nothing')
  t.match((await asModern(made.client()).request(1, 'tools/call', { name: 'echo', arguments: { text: 'hi' } })).result, { resultType: 'complete' })
})

t.test('the era can be said beforehand', async (t) => {
  const old = makeBridge(t, { command: [process.execPath, fixture('modern-child.mjs')], env: { ...CHILD_LOG, MCP_CHILD_ERA: 'dual' }, upstreamEra: 'legacy' })
  await old.bridge.start()
  await until(() => heard(old).length > 0)
  t.same(heard(old).slice(0, 1), ['initialize'], 'no question')
  const modern = makeBridge(t, { command: [process.execPath, fixture('modern-child.mjs')], env: CHILD_LOG, upstreamEra: 'modern' })
  await modern.bridge.start()
  await until(() => heard(modern).length > 0)
  t.same(heard(modern), ['server/discover'])
  const wrong = makeBridge(t, { command: legacy(WAYS['answers with an error']), upstreamEra: 'modern' })
  await t.rejects(wrong.bridge.start(), { code: 'MCP_ERR_CHILD_HANDSHAKE' })
  t.throws(() => makeBridge(t, { upstreamEra: 'new' as 'modern' }), { code: 'MCP_ERR_OPTION', message: /upstreamEra must be one of auto, legacy, modern, not "new"/ })
})

t.test('a command that never works is reported as before, and asked anew when it might', async (t) => {
  const made = makeBridge(t, { command: script('process.exit(4)'), restart: { delay: 1, maxDelay: 1 } })
  await t.rejects(made.bridge.start(), { code: 'MCP_ERR_CHILD_EXITED', message: /exit code 4/ })
  t.match((await (made.client() as Client).request(1, 'x/ping')).error, { data: { code: 'MCP_ERR_CHILD_EXITED' } })
})

/** A server that ends at the question, and takes the handshake of its clients by the revision that they ask for. */
const picky = legacy('process.exit(1)').map(source => source.replace("if (method === 'initialize')", `
    if (method === 'initialize' && params.protocolVersion === 'refused') console.log(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32602, message: 'no' } }))
    else if (method === 'initialize' && params.protocolVersion === 'unheard') {}
    else if (method === 'initialize')`))

t.test('clients that wait to hear what a server is do not wait for one whose handshake was refused', async (t) => {
  const { client } = makeBridge(t, { command: picky, isolation: 'auto' })
  t.match(await client().initialize({ sampling: {} }, 'refused'), { error: { code: -32602 } })
  t.match(await client().initialize({ sampling: {} }), { result: { protocolVersion: '2025-06-18' } })
})

t.test('clients that wait to hear what a server is do not wait for one that has left', async (t) => {
  const { client, log } = makeBridge(t, { command: picky, isolation: 'auto' })
  const first = client()
  void first.initialize({ sampling: {} }, 'unheard')
  await log.stderr(/"initialize"/)
  const second = client().initialize({ sampling: {} })
  await first.connection.close()
  t.match(await second, { result: { protocolVersion: '2025-06-18' } })
})

t.test('clients that wait to hear what a server is do not wait for one that found no room', async (t) => {
  const { client, log } = makeBridge(t, { command: script('process.stdin.resume(); process.stderr.write("up\\n")'), isolation: 'auto', maxChildren: 1, queueTimeout: 20 })
  void client().initialize()
  await log.stderr(/up/)
  const refused = { error: { data: { code: 'MCP_ERR_CHILD_LIMIT' } } }
  t.match(await Promise.all([client().initialize({ sampling: {} }), client().initialize({ sampling: {} })]), [refused, refused])
})
