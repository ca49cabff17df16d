import t from 'tap'
import { lookAtAll, type Feature } from './helpers/eras.js'
import type { Declared } from './helpers/clients.js'

/** Tools that ask, and a client that has not said that it can answer. */
const FEATURES: ReadonlyMap<string, Feature> = new Map<string, Feature>([
  ['a client that did not declare elicitation is not asked', async (t, client, pair) => {
    const answer = await client.call('askForm', { say: 'nothing' }).catch((error: unknown) => error)
    t.ok(answer instanceof Error || (answer as { isError?: boolean }).isError === true, 'it is an error')
    t.match(answer instanceof Error ? answer.message : JSON.stringify(answer), /elicitation/i, 'which says what is missing')
    t.strictSame(client.wire.asked, [])
    if (pair.client === 'modern' && pair.child === 'modern') t.match(client.wire.answerTo('tools/call'), { error: { code: -32021, data: { requiredCapabilities: { elicitation: {} } } } })
    const { capabilities } = JSON.parse(await client.text('client')) as { capabilities: Declared }
    t.strictSame([capabilities.elicitation, capabilities.sampling, capabilities.roots], [undefined, undefined, undefined], 'the server is told of nothing')
  }],
])

t.setTimeout(60_000)
await lookAtAll(t, FEATURES)
