import t from 'tap'
import { makeBridge, script, type Client } from './helpers/bridge.js'

const logs = (client: Client): unknown[] => client.all('notifications/message').map(({ params }) => params?.['level'])
const updates = (client: Client): unknown[] => client.all('notifications/resources/updated').map(({ params }) => params?.['uri'])
let next = 100
/** Makes the child do something, and waits until it is done. */
const run = async (client: Client, tool: string, args: object = {}): Promise<string> => await client.tool(next++, tool, args)
const ask = async (client: Client, method: string, params: object): Promise<unknown> => (await client.request(next++, method, params)).result

t.test('a shared server logs as verbosely as any client wants, and each hears what it asked for', async (t) => {
  const { client, log } = makeBridge(t)
  const [warning, debug, silent] = [client(), client(), client()]
  for (const one of [warning, debug, silent]) await one.initialize()
  await ask(warning, 'logging/setLevel', { level: 'warning' })
  await ask(debug, 'logging/setLevel', { level: 'debug' })
  await ask(warning, 'logging/setLevel', { level: 'error' })
  await log.first(() => log.stderrLines(/setLevel/).length === 3)
  t.same(log.stderrLines(/setLevel/), ['logging/setLevel warning', 'logging/setLevel debug', 'logging/setLevel debug'])
  for (const level of ['debug', 'warning', 'error', 'emergency', 'unheard-of']) await run(silent, 'log', { level })
  await Promise.all([run(warning, 'echo'), run(debug, 'echo')])
  t.same(logs(warning), ['error', 'emergency', 'unheard-of'])
  t.same(logs(debug), ['debug', 'warning', 'error', 'emergency', 'unheard-of'])
  t.same(logs(silent), ['debug', 'warning', 'error', 'emergency', 'unheard-of'], 'who never asked hears what the server says')
  await ask(warning, 'logging/setLevel', { level: 'loud' })
  await log.stderr(/setLevel loud/)
  await run(warning, 'log', { level: 'warning' })
  t.equal(logs(warning).length, 3, 'a level that is none changes nothing')
})

t.test('logs stop once users of different names share a child', async (t) => {
  const { client } = makeBridge(t)
  const alice = client('alice')
  await run(alice, 'log')
  t.equal(logs(alice).length, 1)
  const bob = client('bob')
  await run(bob, 'log')
  await run(alice, 'log')
  t.equal(logs(alice).length, 1)
  t.equal(logs(bob).length, 0)
  await bob.connection.close()
  await run(alice, 'log')
  t.equal(logs(alice).length, 1, 'what the child knows of another stays in it')
})

t.test('updates go to subscribers, and the server is told of the last that leaves', async (t) => {
  const { client, log } = makeBridge(t)
  const [one, two, other] = [client(), client(), client()]
  await run(other, 'echo')
  await ask(one, 'resources/subscribe', { uri: 'x://a' })
  await ask(two, 'resources/subscribe', { uri: 'x://a' })
  await run(other, 'update', { uri: 'x://a' })
  await run(other, 'update', { uri: 'x://a/part' })
  await run(other, 'update', { uri: 'x://ab' })
  await run(other, 'update', { uri: 'x://b' })
  t.same(updates(one), ['x://a', 'x://a/part'])
  t.same(updates(two), ['x://a', 'x://a/part'])
  t.same(updates(other), [])
  t.same(await ask(one, 'resources/unsubscribe', { uri: 'x://a' }), {})
  t.same(await ask(other, 'resources/unsubscribe', { uri: 'x://a' }), {}, 'also who never subscribed')
  await run(other, 'update', { uri: 'x://a' })
  await run(one, 'echo')
  t.equal(updates(one).length, 2)
  t.equal(updates(two).length, 3)
  t.same(log.stderrLines(/unsubscribe/), [], 'the server still has to send them')
  await ask(two, 'resources/unsubscribe', { uri: 'x://a' })
  await log.stderr(/unsubscribe x:\/\/a/)
  await run(other, 'update', { uri: 'x://a' })
  t.equal(updates(two).length, 3)
})

t.test('a client that leaves takes its subscriptions with it', async (t) => {
  const { client, log } = makeBridge(t)
  const [one, two] = [client(), client()]
  await ask(one, 'resources/subscribe', { uri: 'x://own' })
  await ask(one, 'resources/subscribe', { uri: 'x://both' })
  await ask(two, 'resources/subscribe', { uri: 'x://both' })
  await one.connection.close()
  await run(two, 'update', { uri: 'x://both' })
  await log.stderr(/unsubscribe x:\/\/own/)
  t.same(log.stderrLines(/unsubscribe/), ['resources/unsubscribe x://own'])
  t.same(updates(two), ['x://both'])
})

t.test('a subscription counts from when it is asked for', async (t) => {
  const { client, log } = makeBridge(t)
  const [one, two] = [client(), client()]
  await ask(one, 'resources/subscribe', { uri: 'x://a' })
  await run(two, 'echo')
  two.say({ jsonrpc: '2.0', id: 1, method: 'resources/subscribe', params: { uri: 'x://a' } })
  one.say({ jsonrpc: '2.0', id: 1, method: 'resources/unsubscribe', params: { uri: 'x://a' } })
  await Promise.all([one.answer(1), two.answer(1)])
  await run(one, 'update', { uri: 'x://a' })
  await run(two, 'echo')
  t.same(updates(two), ['x://a'])
  t.same(log.stderrLines(/unsubscribe/), [], 'the server was not told to stop')
})

t.test('a subscription that the server refuses is none', async (t) => {
  const { client } = makeBridge(t, {
    command: script(`require('readline').createInterface({ input: process.stdin }).on('line', line => {
      const { id, method } = JSON.parse(line)
      const write = rest => console.log(JSON.stringify({ jsonrpc: '2.0', ...rest }))
      if (method === 'initialize') write({ id, result: { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'n', version: '1' } } })
      else if (method === 'resources/subscribe') write({ id, error: { code: -32002, message: 'no such resource' } })
      else if (method === 'ping') { write({ method: 'notifications/resources/updated', params: { uri: 'x://a' } }); write({ id, result: {} }) }
    })`)
  })
  const one = client()
  t.match(await one.request(1, 'resources/subscribe', { uri: 'x://a' }), { error: { code: -32002 } })
  await one.request(2, 'ping')
  t.same(updates(one), [])
})

t.test('changes of lists and unknown notifications go to every client', async (t) => {
  const { client } = makeBridge(t)
  const [one, two] = [client('alice'), client('bob')]
  await Promise.all([run(one, 'echo'), run(two, 'echo')])
  await run(one, 'listChanged')
  await run(one, 'unknownNotification')
  for (const each of [one, two]) {
    t.equal((await each.received('notifications/tools/list_changed')).options?.relatedRequestId, undefined)
    t.same((await each.received('notifications/x/unheard-of')).json.params, { n: 1 })
  }
})

t.test('what a shared server asks of its client is refused, with what would help', async (t) => {
  const { client, log } = makeBridge(t)
  const [one, two] = [client(), client()]
  await run(two, 'echo')
  for (const method of ['sampling/createMessage', 'elicitation/create', 'roots/list', 'vendor/ask']) {
    t.match(JSON.parse(await run(one, 'ask', { method, params: {} })), { code: -32601, message: new RegExp(`^${method} .*isolation "auto" or "session"`) })
    await log.first(({ level, object }) => level === 'warn' && object['method'] === method)
  }
  t.same(JSON.parse(await run(one, 'ask', { method: 'ping' })), {}, 'but ping is answered')
  t.same([...one.items, ...two.items].filter(({ json }) => json.method !== undefined), [], 'no client is bothered')
})

t.test('a client with a child of its own introduces itself and is asked', async (t) => {
  const { client } = makeBridge(t, { isolation: 'session' })
  const [one, two] = [client(), client()]
  const answer = await one.initialize({ sampling: {}, experimental: { x: 1 } }, '2025-03-26')
  t.equal(answer.result?.['protocolVersion'], '2025-03-26')
  await two.initialize()
  t.same(JSON.parse(await run(one, 'initialize')), { protocolVersion: '2025-03-26', capabilities: { sampling: {}, experimental: { x: 1 } }, clientInfo: { name: 'test', version: '1' } })
  one.call('outer', 'ask', { method: 'sampling/createMessage', params: { n: 12 } })
  const question = await one.received('sampling/createMessage')
  t.same(question.json.params, { n: 12 })
  t.equal(question.options?.relatedRequestId, '"outer"', 'on the stream of the call that it is about')
  one.say({ jsonrpc: '2.0', id: question.json.id, result: { text: 'said' } })
  t.match(await one.answer('outer'), { result: { content: [{ text: '{"text":"said"}' }] } })
  one.say({ jsonrpc: '2.0', id: question.json.id, result: { text: 'again' } })
  await run(one, 'log', { level: 'debug' })
  t.equal(logs(one).length, 1)
  t.equal(two.items.length, 1, 'the other client hears nothing of it')
})

t.test('a client with a child of its own keeps its progress tokens', async (t) => {
  const { client } = makeBridge(t, { isolation: 'session' })
  const one = client()
  await one.initialize()
  one.call(1, 'raw', {}, { progressToken: 'mine' })
  t.match((await one.answer(1)).result, { content: [{ text: /"progressToken":"mine"/ }] })
  one.call(2, 'progress', { count: 2 }, { progressToken: 'mine' })
  await one.answer(2)
  t.same(one.all('notifications/progress').map(({ params }) => params?.['progressToken']), ['mine', 'mine'])
})

t.test('a question that the server takes back is taken back from the client', async (t) => {
  const { client } = makeBridge(t, {
    isolation: 'session',
    command: script(`require('readline').createInterface({ input: process.stdin }).on('line', line => {
      const { id, method, result } = JSON.parse(line)
      const write = rest => console.log(JSON.stringify({ jsonrpc: '2.0', ...rest }))
      if (method === 'initialize') write({ id, result: { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'n', version: '1' } } })
      else if (method === 'ping') {
        write({ id: 'mine', method: 'roots/list' })
        write({ method: 'notifications/cancelled', params: { requestId: 'unknown' } })
        write({ method: 'notifications/cancelled', params: { requestId: 'mine', reason: 'never mind' } })
        write({ id, result: {} })
      } else if (result !== undefined) console.error('was answered')
      else if (method === 'tools/list') write({ id, result: {} })
    })`)
  })
  const one = client()
  await one.initialize({ roots: {} })
  await one.request(1, 'ping')
  const [question] = one.all('roots/list')
  t.same(one.all('notifications/cancelled').map(({ params }) => params), [{ requestId: question?.id, reason: 'never mind' }])
})
