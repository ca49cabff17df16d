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

t.setTimeout(110_000)
await lookAtAll(t, FEATURES, { capabilities: EVERYTHING, answers: ANSWERS })
