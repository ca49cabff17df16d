import t from 'tap'
import { lookAtAll, type Feature } from './helpers/eras.js'

const TEXT = 'žluťoučký 日本語 🎈'

/** What is read, for clients of both eras before servers of both. */
const FEATURES: ReadonlyMap<string, Feature> = new Map<string, Feature>([
  ['what the server says of itself', async (t, { sdk }) => {
    t.match(sdk.getServerVersion(), { name: 'eras', version: '1.2.3' })
    t.equal(sdk.getInstructions(), 'Ask me in any era.')
    t.match(sdk.getServerCapabilities(), { tools: { listChanged: true }, prompts: { listChanged: true }, resources: { subscribe: true, listChanged: true }, completions: {} })
  }],
  ['server/discover', async (t, client, pair) => {
    if (pair.client === 'legacy') return
    await client.request('server/discover', {})
    const { result } = client.wire.answerTo('server/discover') as { result: { supportedVersions: string[] } }
    t.match(result, {
      resultType: 'complete',
      capabilities: { tools: {}, prompts: {}, resources: {} },
      instructions: 'Ask me in any era.',
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'eras', version: '1.2.3' } },
      ttlMs: Number,
      cacheScope: /^(private|public)$/,
    })
    t.ok(result.supportedVersions.includes('2026-07-28'))
  }],
  ['tools are listed and called', async (t, client) => {
    const { tools } = await client.sdk.listTools() as { tools: Array<{ name: string }> }
    t.ok(tools.some(({ name }) => name === 'echo'))
    t.equal(await client.text('echo', { text: TEXT }), TEXT)
    t.match(await client.call('fail'), { isError: true, content: [{ text: 'failed on purpose' }] })
  }],
  ['what only one era has is added, not taken', async (t, client, pair) => {
    await client.sdk.listPrompts()
    const { result } = client.wire.answerTo('prompts/list') as { result: object }
    if (pair.client === 'modern') t.match(result, { resultType: 'complete', ttlMs: Number, cacheScope: String })
    t.match(result, { prompts: [{ name: 'greet', arguments: [{ name: 'who', required: true }] }, { name: 'ask' }] })
  }],
  ['an unknown tool', async (t, client) => {
    await t.rejects(client.call('no such tool'))
    t.match(client.wire.answerTo('tools/call'), { error: { code: -32602 } })
  }],
  ['text of all the world, and fields that nobody knows', async (t, client, pair) => {
    const { structuredContent, _meta, content } = await client.call('numbers') as { structuredContent: { big: number }, _meta: object, content: object }
    // what is written as text has any digits, an object of a server in the process has not
    t.strictSame(structuredContent, { big: pair.inProcess ? '@big' : Number('12345678901234567890'), z: 1, a: 1.5e-7 })
    t.match(_meta, { 'example.com/kept': TEXT })
    t.strictSame(content, [{ type: 'text', text: TEXT }])
  }],
  ['what a request carries beside its parameters', async (t, client) => {
    const meta = { 'example.com/kept': TEXT, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
    const { content: [{ text }] } = await client.request('tools/call', { name: 'meta', arguments: {}, _meta: meta }) as { content: [{ text: string }] }
    t.strictSame(JSON.parse(text), meta, 'all of it, and nothing of the other era')
  }],
  ['pages: the cursor comes back as it was', async (t, client) => {
    const first = await client.request('resources/list', {}) as { resources: object[], nextCursor: string }
    t.match(first.resources, [{ uri: 'eras://text' }])
    t.match(await client.request('resources/list', { cursor: first.nextCursor }), { resources: [{ uri: 'eras://blob' }] })
    await t.rejects(client.request('resources/list', { cursor: 'wrong' }))
    t.match(client.wire.answerTo('resources/list'), { error: { code: -32602 } })
  }],
  ['resources and templates', async (t, client) => {
    t.match(await client.sdk.readResource({ uri: 'eras://text' }), { contents: [{ uri: 'eras://text', text: TEXT }] })
    t.match(await client.sdk.readResource({ uri: 'eras://blob' }), { contents: [{ uri: 'eras://blob', blob: 'AAEC' }] })
    t.match(await client.sdk.listResourceTemplates(), { resourceTemplates: [{ uriTemplate: 'eras://item/{id}' }] })
    t.match(await client.sdk.readResource({ uri: 'eras://item/7' }), { contents: [{ text: 'item 7' }] })
  }],
  ['an unknown resource', async (t, client, pair) => {
    await t.rejects(client.sdk.readResource({ uri: 'eras://none' }))
    // the code of legacy servers means nothing to modern clients; SDK v2 has one code for both
    const code = pair.server === 'legacy' && pair.client === 'legacy' && pair.modernised !== true ? -32002 : -32602
    t.match(client.wire.answerTo('resources/read'), { error: { code, data: { uri: 'eras://none' } } })
  }],
  ['prompts', async (t, client) => {
    t.match(await client.sdk.getPrompt({ name: 'greet', arguments: { who: TEXT } }), { messages: [{ role: 'user', content: { text: `Hello, ${TEXT}! ${TEXT}` } }] })
    await t.rejects(client.sdk.getPrompt({ name: 'none' }))
    t.match(client.wire.answerTo('prompts/get'), { error: { code: -32602 } })
  }],
  ['completion', async (t, client) => {
    t.match(await client.sdk.complete({ ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: 'Wor' }, context: { arguments: { city: 'Brno' } } }), { completion: { values: ['Wor!', 'Brno'], total: 2 } })
  }],
])

t.setTimeout(110_000)
await lookAtAll(t, FEATURES)
