import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import mcpBridge, { createBridge, mcpStdioBridge, type StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import { CHILD, Log, connect, isAlive, makeBridge, script, until, type Teardown } from './helpers/bridge.js'

async function build (t: Teardown, options: Partial<StdioBridgeOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(mcpBridge, { command: CHILD, stopTimeout: 500, ...options })
  await app.ready()
  return app
}

/** Tells its pid and nothing else, and ends at SIGKILL only. A shell, since Node may take longer to start than it gets here. */
const SILENT = ['sh', '-c', 'trap "" TERM; echo "pid $$" >&2; while :; do sleep 1; done']

/** Shakes hands when its stdin has ended, and lives on for a while. */
const LATE = script(`
  let id
  require('readline').createInterface({ input: process.stdin }).on('line', line => { id ??= JSON.parse(line).id; console.error('asked') })
    .on('close', () => {
      console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'late', version: '1' } } }))
      setTimeout(() => {}, 100)
    })`)

t.test('the plugin decorates its app and everything beside and below, and starts nothing by itself', async (t) => {
  t.equal(mcpBridge, mcpStdioBridge)
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(mcpBridge, { command: CHILD, name: 'mine' })
  app.register(async (beside) => { t.equal(beside.mcpBridge.name, 'mine') })
  await app.ready()
  t.ok(app.hasPlugin('@mcp-proxy/stdio-bridge'))
  t.equal(app.mcpBridge.name, 'mine')
  t.same(app.mcpBridge.status().children, [])
})

t.test('an app has one bridge', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(mcpBridge, { command: CHILD })
  app.register(mcpBridge, { command: CHILD })
  await t.rejects(async () => { await app.ready() }, { code: 'FST_ERR_DEC_ALREADY_PRESENT', message: /mcpBridge/ })
})

t.test('a bad option fails the start of the app', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(mcpBridge, { command: '' })
  await t.rejects(async () => { await app.ready() }, { code: 'MCP_ERR_OPTION' })
})

t.test('start() brings a child up once, whoever asks', async (t) => {
  const app = await build(t)
  await Promise.all([app.mcpBridge.start(), app.mcpBridge.start()])
  await app.mcpBridge.start()
  const [status, ...others] = app.mcpBridge.status().children
  t.same(others, [])
  t.match(status, { scope: 'shared', state: 'ready', clients: 0, calls: 0, stderr: [] })
  t.ok(isAlive(status?.pid ?? 0))
})

t.test('start() tells why a child does not come up', async (t) => {
  await t.rejects((await build(t, { command: 'no-such-command-here' })).mcpBridge.start(), { code: 'MCP_ERR_CHILD_START', statusCode: 502, message: /no-such-command-here could not be started: .*not found/ })
  await t.rejects((await build(t, { cwd: '/no/such/directory' })).mcpBridge.start(), { code: 'MCP_ERR_CHILD_START', cause: { message: /\/no\/such\/directory/ } })
  await t.rejects((await build(t, { args: ['\0'] })).mcpBridge.start(), { code: 'MCP_ERR_CHILD_START', cause: { message: /null bytes/ } })
  await t.rejects((await build(t, { env: { MCP_CHILD_EXIT: '3', MCP_CHILD_STDERR: 'no API key' } })).mcpBridge.start(),
    { code: 'MCP_ERR_CHILD_EXITED', message: /node has ended \(exit code 3\)/, stderr: ['no API key'] })
  await t.rejects((await build(t, { command: script('process.kill(process.pid, "SIGKILL")') })).mcpBridge.start(), { code: 'MCP_ERR_CHILD_EXITED', message: /signal SIGKILL/ })
  await t.rejects((await build(t, { command: SILENT, startTimeout: 500 })).mcpBridge.start(),
    { code: 'MCP_ERR_CHILD_HANDSHAKE', message: /initialize within 500 ms/, stderr: [/^pid \d+$/] })
  const refuses = script('process.stdin.on("data", line => console.log(JSON.stringify({ jsonrpc: "2.0", id: JSON.parse(line).id, error: { code: -32602, message: "go away" } })))')
  await t.rejects((await build(t, { command: refuses })).mcpBridge.start(), { code: 'MCP_ERR_CHILD_HANDSHAKE', message: /go away/ })
})

t.test('a child that did not shake hands in time does not stay', async (t) => {
  const { bridge, log } = makeBridge(t, { command: SILENT, startTimeout: 500, stopTimeout: 100 })
  await t.rejects(bridge.start(), { code: 'MCP_ERR_CHILD_HANDSHAKE' })
  const pid = Number(String((await log.stderr(/^pid/)).object['stderr']).slice(4))
  await until(() => !isAlive(pid))
  t.notOk(isAlive(pid))
})

t.test('start() of a bridge with a child per session tries one and ends it', async (t) => {
  const { bridge, log } = makeBridge(t, { isolation: 'session', env: { MCP_CHILD_STDERR: 'up' } })
  await bridge.start()
  await log.stderr(/^up$/)
  t.equal(log.stderrLines(/^up$/).length, 1)
  t.same(bridge.status().children.filter(({ pid }) => pid !== undefined && isAlive(pid)).filter(({ clients }) => clients > 0), [])
  const broken = makeBridge(t, { isolation: 'session', env: { MCP_CHILD_EXIT: '1' } })
  await t.rejects(broken.bridge.start(), { code: 'MCP_ERR_CHILD_EXITED' })
})

t.test('app.close() ends all children', async (t) => {
  const app = await build(t, { isolation: 'session' })
  const log = new Log()
  const clients = [connect(app.mcpBridge, log), connect(app.mcpBridge, log), connect(app.mcpBridge, log)]
  for (const client of clients) await client.initialize()
  clients[0]?.call(1, 'never')
  const { children } = app.mcpBridge.status()
  t.equal(children.filter(({ scope }) => scope === 'session').length, 3)
  const pids = children.map(({ pid }) => pid ?? 0)
  for (const pid of pids) t.ok(isAlive(pid))
  await app.close()
  for (const pid of pids) t.notOk(isAlive(pid))
  t.match(await clients[0]?.answer(1), { error: { data: { code: 'MCP_ERR_STOPPED' } } }, 'an open call is answered')
  for (const client of clients) t.ok(client.closed)
  await app.mcpBridge.close()
})

t.test('a closed bridge starts nothing and says so', async (t) => {
  const { bridge, client } = makeBridge(t)
  const early = client()
  await early.initialize()
  await bridge.close()
  const late = client()
  for (const someone of [early, late]) {
    someone.say({ jsonrpc: '2.0', id: 9, method: 'tools/list' })
    someone.say({ jsonrpc: '2.0', method: 'notifications/x' })
  }
  t.match(await late.answer(9), { error: { code: -32000, data: { code: 'MCP_ERR_STOPPED' } } })
  t.equal(late.items[0]?.options?.status, 503)
  await t.rejects(bridge.start(), { code: 'MCP_ERR_STOPPED' })
  for (const { pid, state } of bridge.status().children) t.same([pid, state], [undefined, 'closed'])
})

t.test('a bridge that is closed while a child starts stays closed, whatever the child says', async (t) => {
  const { bridge, log, client } = makeBridge(t, { command: LATE })
  const early = client()
  early.say({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
  await log.stderr(/asked/)
  const [status] = bridge.status().children
  await bridge.close()
  t.match(await early.answer(1), { error: { data: { code: 'MCP_ERR_STOPPED' } } })
  t.notOk(isAlive(status?.pid ?? 0))
  const late = client()
  late.say({ jsonrpc: '2.0', id: 2, method: 'tools/list' })
  t.match(await late.answer(2), { error: { data: { code: 'MCP_ERR_STOPPED' } } })
  for (const { pid, state } of bridge.status().children) t.same([pid, state], [undefined, 'closed'])
})

t.test('closing waits for a child that is lost already and being ended', async (t) => {
  const { bridge, log } = makeBridge(t, { command: SILENT, startTimeout: 500, stopTimeout: 300 })
  const start = bridge.start()
  start.catch(() => {})
  const pid = Number(String((await log.stderr(/^pid/)).object['stderr']).slice(4))
  await until(() => bridge.status().children[0]?.pid === undefined)
  t.ok(isAlive(pid), 'given up, and still there')
  await bridge.close()
  t.notOk(isAlive(pid))
  await t.rejects(start, { code: 'MCP_ERR_CHILD_HANDSHAKE' })
})

t.test('closing waits for what a dead child has left behind', async (t) => {
  const { bridge, log, client } = makeBridge(t, { env: { MCP_CHILD_GRANDCHILD: '1' }, stopTimeout: 300, isolation: 'session' })
  const someone = client()
  await someone.initialize()
  const grandchild = Number(/\d+/.exec(String((await log.stderr(/^grandchild/)).object['stderr']))?.[0])
  someone.call(1, 'exit')
  t.match(await someone.answer(1), { error: { data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  await bridge.close()
  t.notOk(isAlive(grandchild))
})

t.test('isolation decides which child serves whom', async (t) => {
  const pids = async (options: Partial<StdioBridgeOptions>, who: Array<[principal: string | undefined, capabilities: object]>): Promise<string[]> => {
    const { client } = makeBridge(t, options)
    return await Promise.all(who.map(async ([principal, capabilities]) => {
      const someone = client(principal)
      await someone.initialize(capabilities)
      return await someone.tool(1, 'pid')
    }))
  }
  const [a, b] = await pids({ isolation: 'shared' }, [['x', {}], ['y', { sampling: {} }]])
  t.equal(a, b, 'shared: one for all')
  const [c, d] = await pids({ isolation: 'session' }, [['x', {}], ['x', {}]])
  t.not(c, d, 'session: one each')
  const [x1, x2, y, none1, none2] = await pids({ isolation: 'principal' }, [['x', {}], ['x', {}], ['y', {}], [undefined, {}], [undefined, {}]])
  t.equal(x1, x2, 'principal: one for each user')
  t.equal(none1, none2)
  t.equal(new Set([x1, y, none1]).size, 3)
  const [e, f, g, h, i] = await pids({ isolation: 'auto' }, [['x', {}], ['y', { experimental: {} }], ['x', { sampling: {} }], ['x', { elicitation: {} }], ['x', { roots: {} }]])
  t.equal(e, f, 'auto: one for all that declare no callbacks')
  t.equal(new Set([e, g, h, i]).size, 4)
})

t.test('status() tells of every child', async (t) => {
  const { bridge, client } = makeBridge(t, { isolation: 'auto', env: { MCP_CHILD_STDERR: 'hello' } })
  const [one, two, own] = [client(), client(), client()]
  await Promise.all([one.initialize(), two.initialize(), own.initialize({ sampling: {} })])
  one.call(1, 'never')
  await one.tool(2, 'echo')
  const status = bridge.status().children
  t.match(status.find(({ scope }) => scope === 'shared'), { state: 'ready', clients: 2, calls: 1, stderr: ['hello'] })
  t.match(status.find(({ scope }) => scope === 'session'), { state: 'ready', clients: 1, calls: 0 })
  await own.connection.close()
  await two.connection.close()
  t.match(bridge.status().children.find(({ scope }) => scope === 'shared'), { clients: 1, calls: 1 })
  t.equal(bridge.status().children.find(({ scope }) => scope === 'session'), undefined, 'the child of a session ends with it')
})

t.test('a bridge works without Fastify', async (t) => {
  const log = new Log()
  const bridge = createBridge({ command: CHILD }, log)
  t.equal(bridge.name, 'node')
  await bridge.start()
  await bridge.close()
})
