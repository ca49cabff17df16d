import t from 'tap'
import { makeBridge, until } from './helpers/bridge.js'

t.test('a child that dies fails the calls it had open, and the next call finds another child', async (t) => {
  const { bridge, client } = makeBridge(t)
  const [one, two] = [client(), client()]
  await Promise.all([one.initialize(), two.initialize()])
  const pid = await one.tool(1, 'pid')
  two.call('open', 'never')
  await two.tool(2, 'echo')
  one.call('x', 'exit', { code: 7 })
  for (const answer of [await one.answer('x'), await two.answer('open')]) {
    t.match(answer, { error: { code: -32000, message: /exit code 7/, data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  }
  t.equal(bridge.status().children[0]?.calls, 0)
  t.not(await two.tool(3, 'pid'), pid)
  t.equal(await one.tool(3, 'pid'), await two.tool(4, 'pid'), 'both still share one')
  for (const each of [one, two]) t.ok(await each.received('notifications/tools/list_changed'), 'and look again at what it offers')
})

t.test('an error that is an answer has no status of its own, one that came before the server has', async (t) => {
  const { client } = makeBridge(t)
  const one = client()
  await one.initialize()
  one.call('x', 'exit')
  await one.answer('x')
  t.equal(one.items.at(-1)?.options?.status, undefined)
  const broken = makeBridge(t, { env: { MCP_CHILD_EXIT: '1', MCP_CHILD_STDERR: 'secret reason' } })
  const two = broken.client()
  two.say({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {} } })
  two.say({ jsonrpc: '2.0', method: 'notifications/initialized' })
  two.call(2, 'echo')
  for (const id of [1, 2]) t.match(await two.answer(id), { error: { code: -32000, data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  t.same(two.items.map(({ options }) => options?.status), [502, 502])
  for (const { text } of two.items) t.notMatch(text, /secret/, 'what it wrote to stderr is for the log')
  await broken.log.first(({ level, object }) => level === 'error' && object['err'] instanceof Error)
})

t.test('a command that cannot be run fails every call with the reason', async (t) => {
  for (const [options, isolation] of [[{ command: ['no-such-command-here'] }, 'shared'], [{ command: ['no-such-command-here'] }, 'session'], [{ args: ['\0'] }, 'shared'], [{ args: ['\0'] }, 'session']] as const) {
    const { client } = makeBridge(t, { ...options, isolation })
    const one = client()
    one.say({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {} } })
    t.match(await one.answer(1), { error: { data: { code: 'MCP_ERR_CHILD_START' } } }, `${isolation} ${Object.keys(options)[0]}`)
    t.equal(one.items[0]?.options?.status, 502)
  }
})

t.test('a child that is killed from outside is replaced', async (t) => {
  const { client } = makeBridge(t)
  const one = client()
  const pid = Number(await one.tool(1, 'pid'))
  one.call(2, 'never')
  await one.tool(3, 'echo')
  process.kill(pid, 'SIGKILL')
  t.match(await one.answer(2), { error: { message: /signal SIGKILL/ } })
  t.not(Number(await one.tool(4, 'pid')), pid)
})

t.test('the last answer of a child that dies is delivered', async (t) => {
  const { bridge, client } = makeBridge(t)
  const one = client()
  const pid = await one.tool(1, 'pid')
  t.equal(await one.tool(2, 'exitAfterAnswer'), 'last words')
  await until(() => bridge.status().children[0]?.pid !== Number(pid))
  t.not(await one.tool(3, 'pid'), pid)
})

t.test('a child that replaces another learns the log level and the subscriptions', async (t) => {
  const { client, log } = makeBridge(t)
  const [one, two, gone] = [client(), client(), client()]
  await one.request(1, 'logging/setLevel', { level: 'notice' })
  await two.request(1, 'logging/setLevel', { level: 'error' })
  await gone.request(1, 'resources/subscribe', { uri: 'x://gone' })
  await gone.connection.close()
  await one.request(2, 'resources/subscribe', { uri: 'x://a' })
  await two.request(2, 'resources/subscribe', { uri: 'x://a' })
  await two.request(3, 'resources/subscribe', { uri: 'x://b' })
  await log.stderr(/subscribe x:\/\/b/)
  const before = log.stderrLines(/./).length
  one.call(5, 'exit')
  await one.answer(5)
  t.equal(await one.tool(6, 'update', { uri: 'x://b' }), 'updated')
  await log.first(() => log.stderrLines(/./).length >= before + 3)
  t.same(log.stderrLines(/./).slice(before), ['logging/setLevel notice', 'resources/subscribe x://a', 'resources/subscribe x://b'])
  await two.received('notifications/resources/updated')
  t.equal(one.all('notifications/resources/updated').length, 0)
  t.same(one.items.filter(({ json }) => json.method === undefined).map(({ json }) => json.id), [1, 2, 5, 6], 'what the bridge repeats is answered to nobody')
})

t.test('a private child that replaces another is introduced to its client anew', async (t) => {
  const { client } = makeBridge(t, { isolation: 'session' })
  const one = client()
  await one.initialize({ roots: { listChanged: true } }, '2025-03-26')
  const pid = await one.tool(1, 'pid')
  one.call(2, 'exit')
  t.match(await one.answer(2), { error: { data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  t.not(await one.tool(3, 'pid'), pid)
  t.same(JSON.parse(await one.tool(4, 'initialize')), { protocolVersion: '2025-03-26', capabilities: { roots: { listChanged: true } }, clientInfo: { name: 'test', version: '1' } })
})

t.test('questions of a dead child are taken back, and their ids are not used again', async (t) => {
  const { client, log } = makeBridge(t, { isolation: 'session' })
  const one = client()
  await one.initialize({ roots: {} })
  one.call(1, 'ask', { method: 'roots/list', params: { n: 1 } })
  const first = await one.received('roots/list')
  one.call(2, 'exit')
  const cancelled = await one.received('notifications/cancelled')
  t.equal(cancelled.json.params?.['requestId'], first.json.id)
  t.match(await one.answer(1), { error: { data: { code: 'MCP_ERR_CHILD_EXITED' } } })
  one.call(3, 'ask', { method: 'roots/list', params: { n: 2 } })
  const second = await one.first(({ json }) => json.method === 'roots/list' && json.params?.['n'] === 2)
  t.not(second.json.id, first.json.id)
  one.say({ jsonrpc: '2.0', id: first.json.id, result: { for: 'the dead one' } })
  await log.first(({ text }) => text.includes('nobody asked for'))
  one.say({ jsonrpc: '2.0', id: second.json.id, result: { for: 'the living one' } })
  t.match(await one.answer(3), { result: { content: [{ text: '{"for":"the living one"}' }] } })
})
