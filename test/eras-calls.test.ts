import t from 'tap'
import { lookAtAll, type Feature } from './helpers/eras.js'
import type { OpenClient } from './helpers/clients.js'
import { until } from './helpers/until.js'

/** What goes on while a call lasts, for clients of both eras before servers of both. */
const FEATURES: ReadonlyMap<string, Feature> = new Map<string, Feature>([
  ['progress comes before the answer, all of it', async (t, client) => {
    let seen = 0
    await client.call('progress', { count: 5 }, { onprogress: () => { seen++ } })
    const call = client.wire.sent.findLast(({ method }) => method === 'tools/call')
    const token = (call?.params?.['_meta'] as { progressToken: string | number }).progressToken
    const progress = client.wire.notified('notifications/progress').filter(({ params }) => params?.['progressToken'] === token)
    t.match(progress.map(({ params }) => params), [1, 2, 3, 4, 5].map(progress => ({ progress, total: 5, message: `step ${progress}` })))
    const order = client.wire.received
    const last = progress.at(-1)
    t.ok(last !== undefined && order.indexOf(last) < order.findIndex(({ id, method }) => id === call?.id && method === undefined), 'the last one came before the answer')
    // how many of what came together with the answer reach the callback is the SDK's business
    t.ok(seen <= 5)
  }],
  ['no progress without a token', async (t, client) => {
    const before = client.wire.notified('notifications/progress').length
    await client.call('progress', { count: 2 })
    t.equal(client.wire.notified('notifications/progress').length, before)
  }],
  // before anybody has asked for logs: from then on each call may have a process of its own, which knows nothing of the others
  ['cancellation reaches the server', async (t, client, { title }) => {
    const label = `wait ${title}`
    const left = new AbortController()
    const call = client.call('wait', { label }, { signal: left.signal })
    await Promise.all([
      t.rejects(call),
      until(async () => await client.text('waiting', { label }) === 'open').then(() => left.abort()),
    ])
    await until(async () => await client.text('waiting', { label }) === 'cancelled')
    t.pass('the server has seen it')
  }],
  ['logs of the level that was asked for', async (t, client, pair) => {
    if (pair.client === 'legacy') {
      for (const [label, level, expected] of [['i', 'info', ['i info', 'i error']], ['e', 'error', ['e error']]] as const) {
        await client.sdk.setLoggingLevel(level)
        await client.call('logs', { label })
        // a session has a stream for what belongs to no call: it may be slower than the answer
        await client.wire.until(({ params }) => params?.['data'] === `${label} error`)
        t.strictSame(logs(client, label), expected)
      }
      return
    }
    await client.call('logs', { label: 'silent' })
    t.strictSame(logs(client, 'silent'), [], 'none that were not asked for')
    for (const [label, level, expected] of [['i', 'info', ['i info', 'i error']], ['e', 'error', ['e error']]] as const) {
      await client.request('tools/call', { name: 'logs', arguments: { label }, _meta: { 'io.modelcontextprotocol/logLevel': level } })
      // between two proxies the session's stream may be slower than the answer, and a call that is over hears nothing
      if (pair.title.includes('--connect (legacy)')) t.strictSame(logs(client, label), expected.slice(0, logs(client, label).length))
      else t.strictSame(logs(client, label), expected)
    }
    await client.call('logs', { label: 'later' })
    t.strictSame(logs(client, 'later'), [], 'for the one request alone')
  }],
  ['ping', async (t, client, pair) => {
    if (pair.client === 'legacy') t.match(await client.sdk.ping(), {})
    else await t.rejects(client.sdk.ping(), 'the modern era has none')
  }],
  ['calls at once are told apart', async (t, client) => {
    const texts = Array.from({ length: 20 }, (_, n) => `call ${n}`)
    t.strictSame(await Promise.all(texts.map(text => client.text('echo', { text }))), texts)
  }],
])

/** Logs of the call with that label, in order. */
function logs ({ wire }: OpenClient, label: string): unknown[] {
  return wire.notified('notifications/message').map(({ params }) => String(params?.['data'])).filter(data => data.startsWith(`${label} `))
}

t.setTimeout(110_000)
await lookAtAll(t, FEATURES)
