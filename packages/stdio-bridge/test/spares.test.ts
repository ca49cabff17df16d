import t from 'tap'
import { isAlive, makeBridge, script, until, type Client, type Teardown, type TestBridge } from './helpers/bridge.js'
import { MODERN_CHILD, asModern } from './helpers/modern.js'
import type { ChildStatus, StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'

const spares = ({ bridge }: TestBridge): ChildStatus[] => bridge.status().children.filter(({ scope }) => scope === 'spare')
const pidsOf = (children: ChildStatus[]): string[] => children.map(({ pid }) => String(pid))

/** A bridge, its first client with a child of its own, and how many processes were started so far. */
async function begin (t: Teardown, options: Partial<StdioBridgeOptions> = {}): Promise<TestBridge & { first: Client, spawned: () => number }> {
  const made = makeBridge(t, { isolation: 'session', ...options })
  let count = 0
  made.bridge.events.on('spawn', () => { count++ })
  const first = made.client()
  await first.initialize({ roots: {} })
  return { ...made, first, spawned: () => count }
}

/** The process of the spare that there is, or will be. */
async function sparePid (made: TestBridge): Promise<number> {
  await until(() => spares(made).some(({ pid }) => pid !== undefined))
  return spares(made)[0]?.pid as number
}

/** Whatever was to be started by now has been: a bridge that came later has its spare. */
async function lapse (t: Teardown): Promise<void> {
  await sparePid(await begin(t))
}

t.test('the next client gets the child that waits, which hears its handshake, and another takes its place', async (t) => {
  const made = await begin(t)
  const pid = await sparePid(made)
  t.match(spares(made), [{ state: 'idle', clients: 0, calls: 0, losses: 0 }])
  const second = made.client()
  await second.initialize({ sampling: {}, experimental: { x: 1 } }, '2025-03-26')
  t.equal(await second.tool(1, 'pid'), String(pid))
  t.match(JSON.parse(await second.tool(2, 'initialize')), { protocolVersion: '2025-03-26', capabilities: { sampling: {}, experimental: { x: 1 } } })
  t.match(made.bridge.status().children.find(child => child.pid === pid), { scope: 'session', state: 'ready', clients: 1 })
  t.not(await sparePid(made), pid)
  await second.connection.close()
  await until(() => !isAlive(pid))
  t.equal(await made.first.tool(1, 'echo', { text: 'still here' }), 'still here')
  t.equal(made.spawned(), 3)
})

t.test('nothing waits before a client has had a child of its own', async (t) => {
  const made = makeBridge(t, { isolation: 'auto' })
  await made.bridge.start()
  await made.client().initialize()
  await lapse(t)
  t.same(made.bridge.status().children.map(({ scope }) => scope), ['shared'])
  await made.client().initialize({ elicitation: {} })
  const pid = await sparePid(made)
  const next = made.client()
  await next.initialize({ elicitation: {} })
  t.equal(await next.tool(1, 'pid'), String(pid), 'one that shares no child gets it')
})

t.test('a client that does not shake hands first gets the child that waits too', async (t) => {
  const made = await begin(t)
  const pid = await sparePid(made)
  t.equal(await made.client().tool(1, 'pid'), String(pid))
})

t.test('warm.size says how many wait', async (t) => {
  const made = await begin(t, { warm: { size: 2 } })
  await until(() => spares(made).length === 2)
  const waiting = pidsOf(spares(made))
  const taken: string[] = []
  for (const client of [made.client(), made.client()]) {
    await client.initialize()
    taken.push(await client.tool(1, 'pid'))
  }
  t.same(taken, waiting, 'the one that has waited longest first')
})

t.test('no child waits where it could not serve, or is not wanted', async (t) => {
  const some = {
    'variables of a client': { childEnv: () => ({ A: '1' }) },
    'a server without handshake': { command: MODERN_CHILD },
    'none wanted': { warm: { size: 0 } },
    'a child that all share': { isolation: 'shared' },
    'a child for each call': { isolation: 'request' },
  } satisfies Record<string, Partial<StdioBridgeOptions>>
  const made = await Promise.all(Object.entries(some).map(async ([name, options]) => [name, await begin(t, options)] as const))
  for (const [, { first }] of made) await first.request(1, 'tools/list')
  await lapse(t)
  for (const [name, bridge] of made) t.same(spares(bridge), [], name)
})

t.test('no child waits before it has shown what the server is', async (t) => {
  // ends at the question, so that it is known only by the answer to the handshake
  const command = script(`require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
    const { id, method, params } = JSON.parse(line)
    if (method === 'server/discover') process.exit(1)
    if (method === 'vendor/answer') console.log(JSON.stringify({ jsonrpc: '2.0', id: held.id, result: { protocolVersion: held.params.protocolVersion, capabilities: {}, serverInfo: { name: 'n', version: '1' } } }))
    if (method === 'initialize') held = { id, params }
    if (method === 'ping') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: {} }))
  })
  let held`)
  const made = makeBridge(t, { command, isolation: 'session' })
  const [one, two] = [made.client(), made.client()]
  const answers = [one, two].map(client => client.initialize())
  await until(() => made.bridge.status().children.filter(({ calls }) => calls === 1).length === 2)
  await one.request(1, 'ping')
  await lapse(t)
  t.same(spares(made), [], 'though the child has answered')
  for (const client of [one, two]) client.say({ jsonrpc: '2.0', method: 'vendor/answer' })
  for (const answer of answers) t.match(await answer, { result: { protocolVersion: '2025-06-18' } })
  await sparePid(made)
})

t.test('a child that waits makes way for a client that shares one, and is not replaced for it', async (t) => {
  const made = await begin(t, { isolation: 'auto', upstreamEra: 'legacy', maxChildren: 2 })
  const pid = await sparePid(made)
  const plain = made.client()
  await plain.initialize()
  t.notOk(isAlive(pid))
  await made.first.connection.close()
  await lapse(t)
  t.same(made.bridge.status().children.map(({ scope }) => scope), ['shared'], 'though there is a place again')
  await made.client().initialize({ roots: {} })
  await made.client().initialize()
  t.same(made.bridge.status().children.map(({ scope }) => scope), ['shared', 'session'])
})

t.test('a child that waits makes way for a call that needs a child', async (t) => {
  const made = await begin(t, { isolation: 'auto', upstreamEra: 'legacy', maxChildren: 2 })
  const pid = await sparePid(made)
  const caller = asModern(made.client(), { sampling: {} })
  t.equal(await caller.tool(1, 'echo', { text: 'my turn' }), 'my turn')
  t.notOk(isAlive(pid))
})

t.test('no child waits in a place that somebody needs', async (t) => {
  const made = await begin(t, { upstreamEra: 'legacy', maxChildren: 1 })
  const second = made.client()
  const answer = second.initialize()
  await until(() => made.bridge.status().queued === 1)
  await lapse(t)
  t.same(spares(made), [])
  await made.first.connection.close()
  await answer
  t.same(spares(made), [], 'who has waited comes first')
  await second.connection.close()
  const pid = await sparePid(made)
  t.equal(made.bridge.status().children.length, 1)
  const third = made.client()
  await third.initialize()
  t.equal(await third.tool(1, 'pid'), String(pid))
})

t.test('a child that dies while it waits is replaced, and nobody else hears of it', async (t) => {
  const made = await begin(t)
  const pid = await sparePid(made)
  const exits: unknown[] = []
  made.bridge.events.on('exit', exit => exits.push(exit))
  process.kill(pid, 'SIGKILL')
  await until(() => spares(made).some(spare => spare.pid !== pid))
  t.match(exits, [{ pid, signal: 'SIGKILL', expected: false }])
  t.match(made.bridge.status().children.map(({ losses }) => losses), [0, 0])
  const second = made.client()
  const waiting = pidsOf(spares(made))
  await second.initialize()
  t.same([await second.tool(1, 'pid')], waiting)
  t.equal(await made.first.tool(1, 'echo', { text: 'still here' }), 'still here')
})

t.test('a child whose end is not reported yet is given to nobody', async (t) => {
  const made = await begin(t, { env: { MCP_CHILD_GRANDCHILD: '1' }, stopTimeout: 300 })
  const pid = await sparePid(made)
  // which says that what holds its stdout open for longer is there
  await until(() => made.log.stderrLines(/^grandchild/).length === 2)
  process.kill(pid, 'SIGKILL')
  await until(() => wasReaped(pid))
  t.match(spares(made), [{ pid }])
  const second = made.client()
  t.match(await second.initialize(), { result: { protocolVersion: '2025-06-18' } })
  t.not(await second.tool(1, 'pid'), String(pid))
})

t.test('a server that does not wait for its client is left alone until another client comes', async (t) => {
  const made = await begin(t, {
    upstreamEra: 'legacy',
    restart: { delay: 1, maxDelay: 1, maxFailures: 3, coolDown: 1 },
    command: script(`require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
      clearTimeout(impatience)
      const { id, method, params } = JSON.parse(line)
      if (method === 'initialize') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 'n', version: '1' } } }))
    })
    const impatience = setTimeout(() => process.exit(), 150)`),
  })
  await until(() => made.spawned() === 4 && spares(made).length === 0)
  await lapse(t)
  t.equal(made.spawned(), 4)
  await made.client().initialize()
  await until(() => made.spawned() > 5)
})

t.test('a child that nobody comes for ends, and the next client starts one', async (t) => {
  const made = await begin(t, { childIdleTimeout: 1000 })
  const pid = await sparePid(made)
  await until(() => spares(made).length === 0 && !isAlive(pid))
  t.equal(await made.first.tool(1, 'echo', { text: 'still here' }), 'still here')
  await lapse(t)
  t.equal(made.spawned(), 2, 'and is not replaced')
  const second = made.client()
  await second.initialize()
  t.not(await second.tool(1, 'pid'), String(pid))
})

t.test('closing ends a child that waits', async (t) => {
  const made = await begin(t)
  const pid = await sparePid(made)
  await made.bridge.close()
  t.notOk(isAlive(pid))
  t.same(made.bridge.status().children, [])
  await lapse(t)
  t.equal(made.spawned(), 2)
  t.same(made.log.items.filter(({ level }) => level === 'warn' || level === 'error'), [])
})

t.test('clients that come and go in masses start no more children than they would without', async (t) => {
  const made = await begin(t)
  const clients = 40
  for (let n = 0; n < clients; n++) {
    const one = made.client()
    await one.initialize()
    await one.connection.close()
  }
  t.ok(made.spawned() <= 1 + clients + 1, `${made.spawned()} children`)
  await until(() => made.bridge.status().children.length === 2)
  t.equal(spares(made).length, 1)
})

t.test('what a server says at its start waits for its client', async (t) => {
  const made = await begin(t, {
    command: script(`const write = rest => console.log(JSON.stringify({ jsonrpc: '2.0', ...rest }))
    write({ method: 'notifications/message', params: { level: 'info', data: 'up' } })
    write({ id: 'q', method: 'roots/list' })
    for (let n = 0; n < 30; n++) write({ method: 'notifications/message', params: { level: 'info', data: n } })
    require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
      const { id, method, params, result } = JSON.parse(line)
      if (method === 'initialize') write({ id, result: { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 'n', version: '1' } } })
      else if (id === 'q') console.error('roots ' + result.roots.length)
      else if (method === undefined || id !== undefined) write({ id, error: { code: -32601, message: 'no' } })
    })
    console.error('started')`),
  })
  await sparePid(made)
  await until(() => made.log.stderrLines(/started/).length === 2)
  const second = made.client()
  await second.initialize({ roots: {} })
  const [question] = second.all('roots/list')
  second.say({ jsonrpc: '2.0', id: question?.id, result: { roots: [] } })
  await made.log.stderr(/roots 0/)
  const said = second.items.filter(({ json }) => json.method !== undefined)
  t.match(said[0], { json: { params: { data: 'up' } }, options: { relatedRequestId: '"init"' } }, 'on the stream of the handshake')
  t.equal(said.length, 20, 'and no more than a few')
})

/** Whether the process has ended and the system has told so. */
function wasReaped (pid: number): boolean {
  try {
    return !process.kill(pid, 0)
  } catch {
    return true
  }
}
