import t from 'tap'
import { Client, makeBridge, script, until } from './helpers/bridge.js'
import type { JsonRpcMessage } from '@mcp-proxy/protocol'

/** The tools/call as the child saw it. */
const seen = (answer: JsonRpcMessage): JsonRpcMessage => JSON.parse((answer.result?.['content'] as Array<{ text: string }>)[0]?.text ?? '') as JsonRpcMessage

t.test('the handshake is done once and answered to every client', async (t) => {
  const { bridge, client } = makeBridge(t)
  const [one, two] = [client(), client()]
  const answers = await Promise.all([one.initialize({}, '2025-03-26'), two.initialize({}, '2025-11-25')])
  for (const answer of answers) t.match(answer, { id: 'init', result: { serverInfo: { name: 'test-child' }, instructions: 'for tests' } })
  t.equal(answers[0]?.result?.['protocolVersion'], '2025-03-26', 'the revision is negotiated with each')
  t.equal(answers[1]?.result?.['protocolVersion'], '2025-11-25')
  const odd = await client().request(1, 'initialize', { protocolVersion: '1999-01-01', capabilities: {} })
  t.equal(odd.result?.['protocolVersion'], '2025-11-25')
  const handshake = JSON.parse(await one.tool(1, 'initialize')) as Record<string, unknown>
  t.match(handshake, { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'mcp-proxy' } })
  t.equal(bridge.status().children.length, 1)
})

t.test('ids of every kind come back as they were, and the child sees others', async (t) => {
  const { client } = makeBridge(t)
  const one = client()
  const ids = ['1', '-1', '0', '1.5', '9007199254740993', '"1"', '""', '"a b"', '"日本 🎈"', '"__proto__"', '"mcp-proxy:1"', '"\\"quoted\\""']
  for (const id of ids) one.say(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"raw"}}`)
  for (const id of ids) {
    const { json } = await one.first(({ text }) => text.includes(`"id":${id}}`) || text.includes(`"id":${id},`))
    const { id: childId } = seen(json)
    t.type(childId, 'number', id)
  }
  t.equal(one.items.length, ids.length)
  t.equal(new Set(one.items.map(({ json }) => seen(json).id)).size, ids.length, 'each its own')
})

t.test('two clients with the same ids each get their own answers', async (t) => {
  const { client } = makeBridge(t)
  const [one, two] = [client(), client()]
  for (let id = 1; id <= 20; id++) {
    one.call(id, 'echo', { text: `one ${id}` })
    two.call(id, 'echo', { text: `two ${id}` })
  }
  for (let id = 1; id <= 20; id++) {
    t.match(await one.answer(id), { result: { content: [{ text: `one ${id}` }] } })
    t.match(await two.answer(id), { result: { content: [{ text: `two ${id}` }] } })
  }
  t.equal(one.items.length, 20)
  t.equal(two.items.length, 20)
})

t.test('answers pass whole, whatever is in them', async (t) => {
  const { client } = makeBridge(t)
  const one = client()
  const json = '{"z":12345678901234567890,"a":1.0,"nested":{"id":5,"jsonrpc":"2.0"},"_meta":{"x/y":[]},"e":"\\u00e9"}'
  one.call('v', 'verbatim', { json })
  await one.answer('v')
  t.equal(one.items[0]?.text, `{"jsonrpc":"2.0","id":"v","result":${json}}`)
  t.match(await one.request(2, 'tools/call', { name: 'rpcError', arguments: { code: -32099, data: { why: 1 } } }), { id: 2, error: { code: -32099, message: 'as asked', data: { why: 1 } } })
  t.match(await one.request(3, 'vendor/echo', { x: null }), { result: { method: 'vendor/echo', params: { x: null } } })
  t.match(await one.request(4, 'vendor/unknown'), { error: { code: -32601 } })
  t.equal(await one.tool(5, 'splitUtf8'), '日本語 🎈')
  t.equal(await one.tool(6, 'crlf'), 'crlf')
  t.equal((await one.tool(7, 'big', { bytes: 3_000_000 })).length, 3_000_000)
})

t.test('answers may come out of order and twice', async (t) => {
  const { client, log } = makeBridge(t)
  const one = client()
  one.call(1, 'sleep', { ms: 50 })
  one.call(2, 'echo', { text: 'quick' })
  await one.answer(1)
  t.same(one.items.map(({ json }) => json.id), [2, 1])
  t.equal(await one.tool(3, 'twice'), 'first')
  await log.first(({ text }) => text.includes('no open call'))
  t.equal(await one.tool(4, 'echo', { text: 'next' }), 'next')
  t.equal(one.items.length, 4, 'the second answer went nowhere')
})

t.test('garbage on stdout harms nobody', async (t) => {
  const { client } = makeBridge(t, { env: { MCP_CHILD_GARBAGE: '1' } })
  const one = client()
  t.equal(await one.tool(1, 'garbage'), 'still here')
  t.equal(await one.tool(2, 'stderr', { bytes: 10_000_000 }), 'complained')
})

t.test('progress goes to the caller under its own token, all of it before the answer', async (t) => {
  const { client } = makeBridge(t)
  const [one, two] = [client(), client()]
  one.call(1, 'progress', { count: 50 }, { progressToken: 'same' })
  two.call(1, 'progress', { count: 3 }, { progressToken: 'same' })
  two.call(2, 'progress', { count: 2 }, { progressToken: 7 })
  two.call(3, 'progress', { count: 1 })
  await Promise.all([one.answer(1), two.answer(1), two.answer(2), two.answer(3)])
  t.same(one.all('notifications/progress').map(({ params }) => [params?.['progressToken'], params?.['progress']]), Array.from({ length: 50 }, (_, n) => ['same', n + 1]))
  t.equal(one.items.at(-1)?.json.id, 1)
  t.same(two.all('notifications/progress').map(({ params }) => params?.['progressToken']), ['same', 'same', 'same', 7, 7])
  for (const { json, options } of [...one.items, ...two.items]) {
    if (json.method !== undefined) t.equal(options?.relatedRequestId, json.params?.['progressToken'] === 7 ? '2' : '1')
  }
  one.call(9, 'raw', {}, { progressToken: 'mine', trace: 'kept' })
  t.same(seen(await one.answer(9)).params?.['_meta'], { progressToken: seen(await one.answer(9)).id, trace: 'kept' })
})

t.test('a cancelled call is cancelled under the id that the child knows', async (t) => {
  const { bridge, client } = makeBridge(t)
  const [one, two] = [client(), client()]
  one.call('c', 'never')
  two.call('c', 'never')
  await Promise.all([one.tool(2, 'echo'), two.tool(2, 'echo')])
  t.equal(bridge.status().children[0]?.calls, 2)
  two.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'unknown' } })
  two.say({ jsonrpc: '2.0', method: 'notifications/cancelled' })
  t.equal(await two.tool(3, 'cancelled'), '0', 'an unknown id cancels nothing')
  one.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'c', reason: 'enough' } })
  t.equal(await one.tool(4, 'cancelled'), '1')
  t.equal(bridge.status().children[0]?.calls, 1, "the other's call is still open")
})

t.test('an id that is still open cannot be used again', async (t) => {
  const { client } = makeBridge(t)
  const one = client()
  one.call(1, 'never')
  one.call(1, 'echo')
  t.match(await one.answer(1), { error: { data: { code: 'MCP_ERR_ID_IN_USE' } } }, 'while the child starts')
  await one.tool(2, 'echo')
  one.call(1, 'echo')
  await until(() => one.items.length === 3)
  t.match(one.items[2]?.json, { id: 1, error: { data: { code: 'MCP_ERR_ID_IN_USE' } } }, 'and when it is up')
  one.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } })
  t.equal(await one.tool(3, 'cancelled'), '1', 'the call itself is not disturbed')
})

t.test('a client that leaves has its calls cancelled, and no one else\'s', async (t) => {
  const { bridge, client } = makeBridge(t)
  const [one, two] = [client(), client()]
  for (let id = 1; id <= 3; id++) one.call(id, 'never')
  two.call(1, 'never')
  await one.tool(9, 'echo')
  await one.connection.close()
  await one.connection.close()
  t.equal(await two.tool(2, 'cancelled'), '3')
  t.match(bridge.status().children[0], { clients: 1, calls: 1 })
  t.equal(one.items.length, 1, 'and it hears nothing more')
})

t.test('a call that takes too long is answered and cancelled', async (t) => {
  const { bridge, client } = makeBridge(t, { requestTimeout: 500 })
  const one = client()
  await one.initialize()
  one.call(1, 'never')
  const answer = await one.answer(1)
  t.match(answer, { error: { code: -32001, message: /within \d+ ms/, data: { code: 'MCP_ERR_REQUEST_TIMEOUT' } } })
  t.equal(await one.tool(2, 'cancelled'), '1')
  t.equal(bridge.status().children[0]?.calls, 0)
})

t.test('an answer over the limit fails its call alone', async (t) => {
  const { client } = makeBridge(t, { maxMessageBytes: 100_000 })
  const [one, two] = [client(), client()]
  two.call('t', 'sleep', { ms: 50 })
  one.call('o', 'big', { bytes: 1_000_000 })
  one.call('p', 'echo', { text: 'fine' })
  t.match(await one.answer('o'), { error: { code: -32603, message: /100000 bytes/, data: { code: 'MCP_ERR_CHILD_MESSAGE_SIZE' } } })
  t.match(await one.answer('p'), { result: { content: [{ text: 'fine' }] } })
  t.match(await two.answer('t'), { result: { content: [{ text: 'slept' }] } })
})

t.test('an answer over the limit is known by its last bytes too', async (t) => {
  const last = script(`require('readline').createInterface({ input: process.stdin }).on('line', line => {
    const { id, method } = JSON.parse(line)
    const text = JSON.stringify({ x: 'y'.repeat(method === 'big' ? 5000 : 5), protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'n', version: '1' } })
    if (id !== undefined) console.log('{"result":' + text + ',"jsonrpc":"2.0","id":' + JSON.stringify(id) + '}')
  })`)
  const { client } = makeBridge(t, { maxMessageBytes: 2000, command: last })
  const one = client()
  t.match(await one.request(1, 'big'), { error: { data: { code: 'MCP_ERR_CHILD_MESSAGE_SIZE' } } })
  t.match(await one.request(2, 'small'), { result: { x: 'yyyyy' } })
})

t.test('an answer that nobody asked for is dropped, from either side', async (t) => {
  const { client, log } = makeBridge(t)
  const one = client()
  await one.initialize()
  one.say({ jsonrpc: '2.0', id: 5, result: {} })
  await log.first(({ text }) => text.includes('nobody asked for'))
  t.equal(await one.tool(1, 'echo', { text: 'fine' }), 'fine')
})

t.test('what a client says while the child starts is sent in order once it is up', async (t) => {
  const { client } = makeBridge(t)
  const one = client()
  one.say({ jsonrpc: '2.0', id: 'init', method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {} } })
  one.say({ jsonrpc: '2.0', method: 'notifications/initialized' })
  one.call(1, 'never')
  one.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } })
  one.call(2, 'cancelled')
  t.match(await one.answer(2), { result: { content: [{ text: '1' }] } })
  t.same(one.items.map(({ json }) => json.id), ['init', 2])
})

t.test('a client that leaves while the child starts leaves nothing behind', async (t) => {
  const { bridge, client } = makeBridge(t)
  const [one, two] = [client(), client()]
  one.call(1, 'never')
  two.call(1, 'echo')
  await one.connection.close()
  await two.answer(1)
  t.match(bridge.status().children[0], { clients: 1, calls: 0 })
  t.same(one.items, [])
})

t.test('a client that asks again as soon as its call has failed is answered once', async (t) => {
  const { client } = makeBridge(t, { restart: { delay: 1 } })
  const one = client()
  await one.tool(1, 'echo')
  one.send = (message, options) => {
    Client.prototype.send.call(one, message, options)
    if (message.rawId === '"x"') one.call('again', 'echo', { text: 'again' })
  }
  one.call('x', 'exit')
  t.match(await one.answer('x'), { error: { code: -32000 } })
  t.match(await one.answer('again'), { result: { content: [{ text: 'again' }] } })
  t.equal(await one.tool(2, 'echo', { text: 'next' }), 'next')
  t.equal(one.items.filter(({ json }) => json.id === 'again').length, 1)
})

t.test('a child that has answered a client that does not read serves the next', async (t) => {
  const { client } = makeBridge(t, { isolation: 'request', maxChildren: 1, warm: { size: 1, recycleAfter: 100 } })
  const slow = client()
  const pid = await slow.tool(1, 'pid')
  slow.send = (message, options) => {
    Client.prototype.send.call(slow, message, options)
    return new Promise<void>(() => {})
  }
  t.equal(await slow.tool(2, 'pid'), pid)
  t.equal(await client().tool(1, 'pid'), pid)
})

t.test('a shared child waits for no reader while somebody else calls, however many are slow', async (t) => {
  const { client } = makeBridge(t)
  const [slow, idle, quick] = [client(), client(), client()]
  await Promise.all([slow, idle, quick].map(one => one.tool(1, 'echo')))
  for (const one of [slow, idle]) {
    one.send = (message, options) => {
      Client.prototype.send.call(one, message, options)
      return new Promise<void>(() => {})
    }
  }
  // the time that a reader gets never passes
  const { setTimeout: original } = globalThis
  t.intercept(globalThis, 'setTimeout', { value: (then: () => void, ms: number) => original(then, ms === 1000 ? 2 ** 30 : ms) })
  // both in one write: an answer for the one, and news for all
  slow.call(2, 'verbatim', { json: '{}}\n{"jsonrpc":"2.0","method":"notifications/tools/list_changed"' })
  await Promise.all([slow.answer(2), idle.received('notifications/tools/list_changed')])
  t.equal(await quick.tool(2, 'echo', { text: 'served' }), 'served')
})
