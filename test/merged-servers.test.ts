import { createRequire } from 'node:module'
import Fastify from 'fastify'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { createBridge, type McpBridge } from '@mcp-proxy/stdio-bridge'
import { mcpSse, mcpStream, mergeServers } from 'mcp-proxy'
import { fixture, lean, startProxy } from './helpers/app.js'
import { isModern, openClient, openStdio, type Answers, type Declared, type OpenClient, type Over, type Sdk } from './helpers/clients.js'

const resolve = createRequire(import.meta.url).resolve
const COMMANDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['legacy', [process.execPath, fixture('eras-legacy.mjs')]],
  ['modern', [process.execPath, fixture('eras-modern.mjs')]],
  ['memory', [process.execPath, resolve('@modelcontextprotocol/server-memory/dist/index.js')]],
])
const EVERYTHING: Declared = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} }
const ANSWERS: Answers = {
  elicit: ({ message }) => ({ answer: `told ${message}` }),
  sample: params => `sampled ${(params as { messages: Array<{ content: { text: string } }> }).messages[0]?.content.text}`,
  roots: () => [{ uri: 'file:///home/ada', name: 'home' }],
}

/** How each server is run. The memory is a file of the test's own. */
function runs (t: Test): Array<[name: string, options: { command: readonly string[], env?: Record<string, string> }]> {
  const env = { MEMORY_FILE_PATH: `${t.testdir()}/memory.jsonl` }
  return [...COMMANDS].map(([name, command]) => [name, name === 'memory' ? { command, env } : { command: lean(command) }])
}

/** All servers merged, over both HTTP transports. */
async function startMerged (t: Test): Promise<string> {
  const app = Fastify()
  const log = pino({ level: 'silent' })
  const bridges = new Map<string, McpBridge>(runs(t).map(([name, options]) => [name, createBridge(options, log)]))
  const merged = mergeServers(new Map([...bridges].map(([name, { connect }]) => [name, connect])))
  app.addHook('onClose', async () => {
    await merged.close()
    await Promise.all([...bridges.values()].map(bridge => bridge.close()))
  })
  await app.register(mcpSse, { connect: merged.connect, closeGrace: 0 })
  await app.register(mcpStream, { connect: merged.connect, closeGrace: 0 })
  t.teardown(() => app.close())
  return await app.listen({ port: 0, host: '127.0.0.1' })
}

/** Looks at all that crosses, with a client before the three. */
async function look (t: Test, client: OpenClient, modern: boolean): Promise<void> {
  const { sdk, wire } = client
  await t.test('what they can do, and say of themselves', async (t) => {
    t.match(sdk.getServerCapabilities(), { tools: { listChanged: true }, prompts: {}, resources: { subscribe: true }, completions: {} })
    t.match(sdk.getInstructions(), /begin with legacy__:\nAsk me in any era.[^]*begin with modern__:\nAsk me in any era./)
  })
  await t.test('lists', async (t) => {
    const { tools } = await sdk.listTools() as { tools: Array<{ name: string }> }
    const names = tools.map(({ name }) => name)
    for (const name of ['legacy__echo', 'modern__echo', 'memory__create_entities']) t.ok(names.includes(name), name)
    t.equal(new Set(names).size, names.length)
    const { prompts } = await sdk.listPrompts() as { prompts: Array<{ name: string }> }
    t.same(prompts.map(({ name }) => name), ['legacy__greet', 'legacy__ask', 'modern__greet', 'modern__ask'])
    // SDK v2 reads all pages by itself, v1 one
    const first = await client.request('resources/list', {}) as { resources: Array<{ uri: string }>, nextCursor: string }
    const second = await client.request('resources/list', { cursor: first.nextCursor }) as typeof first
    t.same([...first.resources, ...second.resources].map(({ uri }) => uri).filter(uri => uri.startsWith('eras:')), ['eras://text', 'eras://blob'], 'once each')
    t.equal(second.nextCursor, undefined)
    t.match(await sdk.listResourceTemplates(), { resourceTemplates: [{ uriTemplate: 'eras://item/{id}' }] })
  })
  await t.test('calls, errors, progress', async (t) => {
    for (const name of ['legacy', 'modern']) {
      t.equal(await client.text(`${name}__echo`, { text: name }), name)
      t.match(await client.call(`${name}__fail`), { isError: true })
      await t.rejects(client.call(`${name}__nothing`), { code: -32602 })
      const before = wire.notified('notifications/progress').length
      t.equal(await client.text(`${name}__progress`, { count: 3 }, { onprogress: () => {} }), 'done')
      t.match(wire.notified('notifications/progress').slice(before), [1, 2, 3].map(progress => ({ params: { progress, total: 3 } })))
    }
    await t.rejects(client.call('echo'), { code: -32602 })
    await client.call('memory__create_entities', { entities: [{ name: 'Ada', entityType: 'person', observations: [] }] })
    t.match(await client.text('memory__read_graph'), /Ada/)
  })
  await t.test('resources, prompts, completion', async (t) => {
    t.match(await sdk.readResource({ uri: 'eras://blob' }), { contents: [{ blob: 'AAEC' }] })
    t.match(await sdk.readResource({ uri: 'eras://item/7' }), { contents: [{ text: 'item 7' }] })
    await t.rejects(sdk.readResource({ uri: 'eras://none' }))
    t.match(await sdk.getPrompt({ name: 'modern__greet', arguments: { who: 'Ada' } }), { messages: [{ content: { text: /^Hello, Ada!/ } }] })
    const argument = { name: 'who', value: 'A' }
    t.match(await sdk.complete({ ref: { type: 'ref/prompt', name: 'legacy__greet' }, argument }), { completion: { values: ['A!', 'nowhere'] } })
    t.match(await sdk.complete({ ref: { type: 'ref/resource', uri: 'eras://item/{id}' }, argument }), { completion: { values: ['A!', 'nowhere'] } })
  })
  await t.test('what they ask, at once', async (t) => {
    const says = ['one', 'two']
    const told = await Promise.all(says.flatMap(say => ['legacy', 'modern'].map(async name => JSON.parse(await client.text(`${name}__askAll`, { say: `${say} of ${name}` })) as unknown)))
    t.same(told, says.flatMap(say => ['legacy', 'modern'].map(name => ({ form: `told ${say} of ${name}`, model: `sampled ${say} of ${name}`, roots: 'file:///home/ada' }))))
    t.match(JSON.parse(await client.text('legacy__client')), { name: 'test-client' })
  })
  if (!modern) {
    await t.test('logs and changes', async () => {
      await sdk.setLoggingLevel('info')
      for (const name of ['legacy', 'modern']) {
        await client.call(`${name}__logs`, { label: name })
        await wire.until(({ method, params }) => method === 'notifications/message' && params?.['data'] === `${name} error`)
        await client.call(`${name}__change`, { list: 'tools' })
      }
      await wire.until(() => wire.notified('notifications/tools/list_changed').length >= 2)
      await sdk.subscribeResource({ uri: 'eras://text' })
      await client.call('legacy__update', { uri: 'eras://text' })
      await wire.until(({ method, params }) => method === 'notifications/resources/updated' && params?.['uri'] === 'eras://text')
      await sdk.unsubscribeResource({ uri: 'eras://text' })
    })
  }
  if (!modern) await t.test('a cancelled call ends on its server', async t => await lookAtCancellation(t, client))
}

async function lookAtCancellation (t: Test, client: OpenClient): Promise<void> {
  for (const name of ['legacy', 'modern']) {
    const label = `${name} ${Math.random()}`
    const stop = new AbortController()
    const call = t.rejects(client.call(`${name}__wait`, { label }, { signal: stop.signal }))
    while (await client.text(`${name}__waiting`, { label }) !== 'open');
    stop.abort()
    await call
    while (await client.text(`${name}__waiting`, { label }) !== 'cancelled');
  }
}

/** What several calls of a modern client have in common is seen only where they share a child: this one can be asked nothing. */
async function lookAtShared (t: Test, client: OpenClient): Promise<void> {
  await lookAtCancellation(t, client)
  const { close } = await client.listen({ promptsListChanged: true, resourceSubscriptions: ['eras://text'] })
  for (const name of ['legacy', 'modern']) await client.call(`${name}__change`, { list: 'prompts' })
  await client.wire.until(() => client.wire.notified('notifications/prompts/list_changed').length >= 2)
  await client.call('legacy__update', { uri: 'eras://text' })
  await client.wire.until(({ method }) => method === 'notifications/resources/updated')
  await close()
}

const CASES: ReadonlyArray<readonly [sdk: Sdk, over: Over]> = [['v1', 'stream'], ['v1', 'sse'], ['v2', 'stream'], ['v2-auto', 'stream'], ['v2-pinned', 'stream']]

t.setTimeout(100_000)

t.test('three servers of both eras as one, over HTTP', async (t) => {
  const url = await startMerged(t)
  for (const [sdk, over] of CASES) {
    await t.test(`SDK ${sdk} over ${over}`, async t => await look(t, await openClient(t, over, url, { sdk, capabilities: EVERYTHING, answers: ANSWERS }), isModern(sdk, over)))
  }
  await t.test('cancellation and changes in the modern era', async t => await lookAtShared(t, await openClient(t, 'stream', url, { sdk: 'v2-pinned' })))
})

t.test('the same, remote, over stdio', async (t) => {
  const pairs = await Promise.all(runs(t).map(async ([name, options]) => `${name}=${(await startProxy(t, { ...options, closeGrace: 0 })).url}/stream`))
  const command = lean([process.execPath, fixture('multi-stdio.mjs'), ...pairs])
  for (const sdk of ['v1', 'v2', 'v2-auto', 'v2-pinned'] as const) {
    await t.test(`SDK ${sdk}`, async t => await look(t, await openStdio(t, { command, sdk, capabilities: EVERYTHING, answers: ANSWERS }), sdk.startsWith('v2-')))
  }
  await t.test('cancellation and changes in the modern era', async t => await lookAtShared(t, await openStdio(t, { command, sdk: 'v2-pinned' })))
})
