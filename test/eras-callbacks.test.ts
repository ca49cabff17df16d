import t from 'tap'
import { lookAtAll, type Feature } from './helpers/eras.js'
import type { Answers, Declared } from './helpers/clients.js'

const EVERYTHING: Declared = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} }
const ANSWERS: Answers = {
  elicit: ({ message, mode }) => {
    if (message === 'too much') return 'decline'
    return mode === 'url' ? undefined : { answer: `told ${message}` }
  },
  sample: params => `sampled ${(params as { messages: Array<{ content: { text: string } }> }).messages[0]?.content.text}`,
  roots: () => [{ uri: 'file:///home/ada', name: 'home' }],
}

/** What a tool wants to know, and what it is told. */
const ASKED: ReadonlyMap<string, object> = new Map([
  ['askForm', { form: 'told askForm' }],
  ['askUrl', { url: 'accept' }],
  ['askModel', { model: 'sampled askModel' }],
  ['askRoots', { roots: 'file:///home/ada' }],
  ['askAll', { form: 'told askAll', model: 'sampled askAll', roots: 'file:///home/ada' }],
  ['askTwice', { first: 'told askTwice 1', second: 'told askTwice 2' }],
])

/** What servers ask their clients, of both eras before servers of both. */
const FEATURES: ReadonlyMap<string, Feature> = new Map<string, Feature>([
  ...[...ASKED].map(([tool, expected]): [string, Feature] => [tool, async (t, client, pair) => {
    t.strictSame(JSON.parse(await client.text(tool, { say: tool })), expected)
    if (pair.client === 'modern') t.strictSame(client.wire.asked, [], 'a modern client hears no requests')
    const calls = client.wire.sent.filter(({ method, params }) => method === 'tools/call' && params?.['name'] === tool)
    if (pair.client === 'legacy') t.equal(calls.length, 1, 'a legacy client calls once')
    if (pair.client === 'modern') t.equal(new Set(calls.map(({ id }) => id)).size, tool === 'askTwice' ? 3 : 2, 'a modern client calls again after each round')
  }]),
  ['a user who declines', async (t, client) => {
    t.equal(await client.text('askForm', { say: 'too much' }), '{"form":"decline"}')
  }],
  ['the server knows what this client can do', async (t, client) => {
    const { name, capabilities } = JSON.parse(await client.text('client')) as { name: string, capabilities: Declared }
    t.equal(name, 'test-client')
    t.match(capabilities, { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} })
  }],
  ['a prompt asks', async (t, client) => {
    t.match(await client.sdk.getPrompt({ name: 'ask' }), { messages: [{ content: { text: 'told prompt' } }] })
  }],
  ['calls that ask at once are told apart', async (t, client) => {
    const says = Array.from({ length: 8 }, (_, n) => `question ${n}`)
    const told = await Promise.all(says.map(async say => JSON.parse(await client.text('askAll', { say })) as object))
    t.strictSame(told, says.map(say => ({ form: `told ${say}`, model: `sampled ${say}`, roots: 'file:///home/ada' })))
  }],
])

/** The same with a client that cannot answer. */
const UNABLE: ReadonlyMap<string, Feature> = new Map([
  ['a client that did not declare elicitation is not asked', async (t, client, pair) => {
    const answer = await client.call('askForm', { say: 'nothing' }).catch((error: unknown) => error)
    t.ok(answer instanceof Error || (answer as { isError?: boolean }).isError === true, 'it is an error')
    t.match(answer instanceof Error ? answer.message : JSON.stringify(answer), /elicitation/i, 'which says what is missing')
    t.strictSame(client.wire.asked, [])
    if (pair.client === 'modern' && pair.child === 'modern') t.match(client.wire.answerTo('tools/call'), { error: { code: -32021, data: { requiredCapabilities: { elicitation: {} } } } })
    const { capabilities } = JSON.parse(await client.text('client')) as { capabilities: Declared }
    t.strictSame([capabilities.elicitation, capabilities.sampling, capabilities.roots], [undefined, undefined, undefined], 'the server is told of nothing')
  }],
] satisfies Array<[string, Feature]>)

t.setTimeout(110_000)
await t.test('a client that answers', async t => await lookAtAll(t, FEATURES, { capabilities: EVERYTHING, answers: ANSWERS }))
await t.test('a client that does not', async t => await lookAtAll(t, UNABLE))
