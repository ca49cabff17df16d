import { existsSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { makeBridge, script, until, type TestBridge } from './helpers/bridge.js'
import { asModern, type ModernClient } from './helpers/modern.js'

const MEBIBYTE = 1024 * 1024

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** A client whose calls have a child to themselves. */
const askable = ({ client }: TestBridge, principal?: string): ModernClient => asModern(client(principal), { sampling: {} })

t.test('a child that has served its call makes way for a client that waits for a place', async (t) => {
  const made = makeBridge(t, { isolation: 'auto', upstreamEra: 'legacy', maxChildren: 1, warm: { size: 1 } })
  const call = askable(made)
  call.say(1, 'tools/call', { name: 'sleep', arguments: { ms: 100 } })
  await until(() => made.bridge.status().children.some(({ calls }) => calls === 1))
  const session = made.client().initialize({ sampling: {} })
  await until(() => made.bridge.status().queued === 1)
  t.match(await call.client.answer(1), { result: { content: [{ text: 'slept' }] } })
  t.match(await session, { result: { protocolVersion: '2025-06-18' } })
})

t.test('a child that is started to be kept ready makes way for a client that waits for a place', async (t) => {
  const made = makeBridge(t, { isolation: 'auto', upstreamEra: 'legacy', maxChildren: 2, warm: { size: 1 } })
  const caller = askable(made)
  await caller.tool(1, 'echo')
  // its child is not given back while it is open; the kind has come twice, so another is kept ready
  caller.say(2, 'tools/call', { name: 'never' })
  await until(() => made.bridge.status().children.length === 2)
  t.match(await made.client().initialize({ sampling: {} }), { result: { protocolVersion: '2025-06-18' } })
})

t.test('a shared child whose last client leaves makes way for a call that waits for a place', async (t) => {
  const made = makeBridge(t, { isolation: 'principal', upstreamEra: 'legacy', maxChildren: 1 })
  const ada = made.client('ada')
  await ada.initialize()
  const grace = asModern(made.client('grace'), { sampling: {} })
  grace.say(1, 'tools/call', { name: 'echo', arguments: { text: 'my turn' } })
  await until(() => made.bridge.status().queued === 1)
  await ada.connection.close()
  t.match(await grace.client.answer(1), { result: { content: [{ text: 'my turn' }] } })
})

t.test('a call that has waited for its client has all of its time when the client is back', async (t) => {
  const made = makeBridge(t, {
    isolation: 'auto',
    upstreamEra: 'legacy',
    requestTimeout: 400,
    command: script(`require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
      const { id, method, params } = JSON.parse(line)
      const write = rest => console.log(JSON.stringify({ jsonrpc: '2.0', ...rest }))
      if (method === 'initialize') write({ id, result: { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 'n', version: '1' } } })
      else if (method === 'tools/call') { call = id; write({ id: 'q', method: 'elicitation/create', params: { message: 'who?', requestedSchema: { type: 'object', properties: {} } } }) }
      else if (id === 'q') setTimeout(() => write({ id: call, result: { content: [{ type: 'text', text: 'done' }] } }), 200)
    })
    let call`),
  })
  const client = asModern(made.client(), { elicitation: {} })
  const params = { name: 'any', arguments: {} }
  const { result } = await client.request(1, 'tools/call', params)
  t.match(result, { resultType: 'input_required', inputRequests: { 'elicitation-1': {} }, requestState: String })
  const parked = Date.now()
  await until(() => Date.now() - parked > 500)
  const answer = await client.request(2, 'tools/call', { ...params, requestState: result?.['requestState'], inputResponses: { 'elicitation-1': { action: 'accept', content: {} } } })
  t.match(answer, { result: { content: [{ text: 'done' }] } })
})

t.test('a child serves one user after the other never, and each hears the log messages of its own calls', async (t) => {
  const made = makeBridge(t, { isolation: 'auto', upstreamEra: 'legacy', maxChildren: 1 })
  const pids: string[] = []
  for (const [id, name] of ['ada', 'grace'].entries()) {
    const client = askable(made, name)
    pids.push(await client.tool(`pid ${id}`, 'pid'))
    await client.tool(id, 'log', { level: 'error' }, { 'io.modelcontextprotocol/logLevel': 'info' })
    t.same(client.client.all('notifications/message').map(({ params }) => params?.['level']), ['error'], name)
    pids.push(await client.tool(`pid again ${id}`, 'pid'))
    await client.client.connection.close()
  }
  t.equal(pids[0], pids[1], 'by one child')
  t.equal(pids[2], pids[3], 'by one child')
  t.not(pids[0], pids[2], 'each by its own')
})

t.test('what a child asks after its call is over is not asked of whoever has it next', async (t) => {
  const made = makeBridge(t, {
    isolation: 'auto',
    upstreamEra: 'legacy',
    maxChildren: 1,
    command: script(`require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
      const { id, method, params, error } = JSON.parse(line)
      const write = rest => console.log(JSON.stringify({ jsonrpc: '2.0', ...rest }))
      if (method === 'initialize') write({ id, result: { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 'n', version: '1' } } })
      else if (method === 'tools/call') {
        write({ id, result: { content: [{ type: 'text', text: 'done' }] } })
        if (params.arguments.late) setTimeout(() => write({ id: 'late', method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } }), 20)
      } else if (id === 'late') process.stderr.write('late: ' + JSON.stringify(error) + '\\n')
      else if (method === 'notifications/cancelled') process.stderr.write('cancelled\\n')
    })`),
  })
  const first = askable(made)
  t.equal(await first.tool(1, 'any', { late: true }), 'done')
  await made.log.stderr(/^late: .*the client has left/)
  const second = askable(made)
  t.equal(await second.tool(1, 'any'), 'done')
})

t.test('a start that calls wait for does not make way for another client', async (t) => {
  const made = makeBridge(t, {
    isolation: 'principal',
    upstreamEra: 'legacy',
    maxChildren: 1,
    queueTimeout: 50,
    command: script(`require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
      const { id, method, params } = JSON.parse(line)
      const answer = result => console.log(JSON.stringify({ jsonrpc: '2.0', id, result }))
      process.stderr.write(method + '\\n')
      if (method === 'initialize') setTimeout(() => answer({ protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 'n', version: '1' } }), 300)
      else if (id !== undefined) answer({ tools: [] })
    })`),
  })
  const ada = asModern(made.client('ada')).request(1, 'tools/list')
  await made.log.stderr(/initialize/)
  t.match(await made.client('grace').initialize(), { error: { data: { code: 'MCP_ERR_CHILD_LIMIT' } } })
  t.match(await ada, { result: { tools: [] } })
})

t.test('a server that keeps ending is left alone by clients without a session too', async (t) => {
  const made = makeBridge(t, { isolation: 'auto', upstreamEra: 'legacy', command: script('process.exit(1)'), restart: { delay: 1, maxDelay: 2, maxFailures: 3, coolDown: 60_000 } })
  let spawned = 0
  made.bridge.events.on('spawn', () => { spawned++ })
  const codes: unknown[] = []
  for (let id = 0; id < 10; id++) codes.push((await asModern(made.client()).request(id, 'tools/list')).error?.data)
  t.match(codes.at(-1), { code: 'MCP_ERR_CHILD_UNAVAILABLE' })
  t.equal(spawned, 3)
})

t.test('a function of the app that throws fails the request, and says nothing of its own', async (t) => {
  const cases = [{ upstreamEra: 'legacy', meta: {} }, { upstreamEra: 'legacy', meta: { 'io.modelcontextprotocol/logLevel': 'info' } }, { upstreamEra: 'modern', meta: {} }, { upstreamEra: 'auto', meta: {} }] as const
  for (const { meta, upstreamEra } of cases) {
    const made = makeBridge(t, { isolation: () => { throw new Error('no such team') }, upstreamEra })
    const client = asModern(made.client())
    client.say(1, 'tools/call', { name: 'echo' }, meta)
    const { json, options, text } = await client.client.first(({ json }) => json.id === 1)
    t.match(json, { error: { data: { code: 'MCP_ERR_CHILD_START' } } })
    t.equal(options?.status, 502)
    t.notMatch(text, /no such team/)
  }
})

t.test('how clients have introduced themselves is forgotten with their children', async (t) => {
  const made = makeBridge(t, { isolation: 'request', upstreamEra: 'legacy', warm: { size: 0 } })
  const call = async (n: number, title: string): Promise<void> => {
    const client = askable(made)
    client.say(1, 'tools/call', { name: 'echo' }, { 'io.modelcontextprotocol/clientInfo': { name: `n${n}`, version: '1', title } })
    t.match(await client.client.answer(1), { result: { resultType: 'complete' } })
    await client.client.connection.close()
    await until(() => made.bridge.status().children.length === 0)
  }
  await call(0, '')
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  // nearly as much as a client may say of itself
  for (let n = 1; n <= 30; n++) await call(n, 'x'.repeat(60 * 1024))
  collectGarbage()
  t.ok(process.memoryUsage().heapUsed - before < 0.9 * MEBIBYTE, 'half of what they have said')
})

t.test('a client whom the server will not know does not keep others from it', async (t) => {
  const made = makeBridge(t, {
    isolation: 'auto',
    upstreamEra: 'legacy',
    restart: { delay: 1, maxDelay: 1, maxFailures: 2, coolDown: 60_000 },
    command: script(`require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
      const { id, method, params } = JSON.parse(line)
      const write = rest => console.log(JSON.stringify({ jsonrpc: '2.0', id, ...rest }))
      if (method === 'initialize' && params.capabilities.sampling?.odd) write({ error: { code: -32602, message: 'odd' } })
      else if (method === 'initialize') write({ result: { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 'n', version: '1' } } })
      else if (id !== undefined) write({ result: { content: [{ type: 'text', text: 'done' }] } })
    })`),
  })
  const odd = asModern(made.client(), { sampling: { odd: 1 } })
  for (let id = 0; id < 4; id++) t.match(await odd.request(id, 'tools/call', { name: 'any' }), { error: { data: { code: 'MCP_ERR_CHILD_HANDSHAKE' } } })
  t.equal(await askable(made).tool(1, 'any'), 'done')
})

t.test('a child that ends between its handshake and its call is reported as one that has ended', async (t) => {
  const made = makeBridge(t, {
    isolation: 'auto',
    upstreamEra: 'legacy',
    command: script(`require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
      const { id, method, params } = JSON.parse(line)
      if (method === 'initialize') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 'n', version: '1' } } }))
      else process.exit(3)
    })`),
  })
  t.match(await asModern(made.client(), { roots: {} }).request(1, 'tools/call', { name: 'any' }), { error: { data: { code: 'MCP_ERR_CHILD_EXITED' } } })
})

t.test('a call whose client stays away makes way for clients that need a child', async (t) => {
  const made = makeBridge(t, { isolation: 'auto', upstreamEra: 'legacy', maxChildren: 1, queueTimeout: 600 })
  const refused = { error: { data: { code: 'MCP_ERR_CHILD_LIMIT' } } }
  const one = askable(made)
  const params = { name: 'ask', arguments: { method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } } }
  const { result } = await one.request(1, 'tools/call', params)
  t.match(result, { resultType: 'input_required' })
  const early = made.client()
  t.match(await early.request(1, 'initialize', { protocolVersion: '2025-06-18', capabilities: { sampling: {} }, clientInfo: { name: 'test', version: '1' } }), refused, 'not at once')
  const session = made.client()
  t.match(await session.initialize({ sampling: {} }), { result: { protocolVersion: '2025-06-18' } })
  const retry = { ...params, requestState: result?.['requestState'], inputResponses: { 'sampling-1': {} } }
  t.match(await one.request(2, 'tools/call', retry), { error: { data: { code: 'MCP_ERR_REQUEST_STATE' } } })
  await session.connection.close()
  t.match(await one.request(3, 'tools/call', params), { result: { resultType: 'input_required' } })
  const waited = Date.now()
  await until(() => Date.now() - waited > 600)
  t.equal(await askable(made).tool(1, 'echo', { text: 'also for a call' }), 'also for a call')
})

t.test('a child that is to be kept ready and ends with the bridge needs nobody\'s attention', async (t) => {
  const { bridge, client, log } = makeBridge(t, { isolation: 'request', upstreamEra: 'legacy', warm: { size: 1 }, command: script('process.stdin.resume()') })
  client().call(1, 'any')
  await until(() => bridge.status().children.length === 2)
  await bridge.close()
  t.match(await log.first(({ text }) => text === 'could not keep a child ready'), { level: 'debug' })
})

t.test('a child that has ended serves nobody, also before its end is reported', { skip: process.platform !== 'linux' }, async (t) => {
  // what it leaves behind holds its output open: the report waits for its last words
  const { client } = makeBridge(t, { isolation: 'request', env: { MCP_CHILD_GRANDCHILD: '1' }, warm: { size: 0, recycleAfter: 100 } })
  const one = client()
  const pid = Number(await one.tool(1, 'pid'))
  t.equal(await one.tool(2, 'exitAfterAnswer'), 'last words')
  // not even a zombie: Node has been told
  await until(() => !existsSync(`/proc/${pid}`))
  t.not(Number(await one.tool(3, 'pid')), pid)
})
