import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { startProxy } from './helpers/app.js'
import { OVER, SDKS, openClient } from './helpers/clients.js'
import { openRawSse, rawPost } from './helpers/raw.js'
import { until } from './helpers/until.js'

for (const over of OVER) {
  for (const sdk of SDKS) {
    t.test(`${sdk} over ${over}: progress, cancellation and a big answer`, async (t) => {
      const { url } = await startProxy(t)
      const client = await openClient(t, over, url, { sdk })

      t.equal(await client.text('progress', { count: 200 }, { onprogress: () => {} }), 'done')
      // on the wire: the SDKs drop the callback with the answer, also for progress that was read together with it
      const told = client.wire.received.slice(-201)
      t.strictSame(told.slice(0, 200).map(({ params }) => params?.['progress']), Array.from({ length: 200 }, (_, index) => index + 1), 'all progress, in order')
      t.match(told.at(-1), { result: { content: [{ text: 'done' }] } }, 'and then the answer')

      const controller = new AbortController()
      const cancelled = client.call('never', { label: 'cancelled' }, { signal: controller.signal })
      const last = new AbortController()
      const kept = client.call('never', { label: 'kept' }, { signal: last.signal })
      await until(async () => await client.text('labels', { state: 'open' }) === '["cancelled","kept"]')
      controller.abort()
      await t.rejects(cancelled)
      await until(async () => await client.text('labels', { state: 'cancelled' }) === '["cancelled"]')
      t.equal(await client.text('labels', { state: 'open' }), '["kept"]', 'the child knows which call was meant')

      const big = await client.text('big', { bytes: 10_000_000 })
      t.ok(big === 'x'.repeat(10_000_000), '10 MB arrive whole')
      last.abort()
      await t.rejects(kept)
      await until(async () => await client.text('labels', { state: 'open' }) === '[]')
    })
  }

  t.test(`${over}: clients that count alike get their own answers`, async (t) => {
    const { url } = await startProxy(t, { isolation: 'shared' })
    const clients = await Promise.all([1, 2, 3, 4].map(() => openClient(t, over, url)))
    const rounds = await Promise.all(Array.from({ length: 25 }, (_, round) => Promise.all(clients.map((client, index) => client.text('echo', { text: `${index}/${round}` })))))
    t.strictSame(rounds, rounds.map((_, round) => clients.map((_, index) => `${index}/${round}`)))
    const ids = clients.map(({ wire }) => wire.sent.filter(({ method }) => method === 'tools/call').map(({ id }) => id))
    t.strictSame(ids[1], ids[0], 'the ids were equal')
    t.equal(new Set(await Promise.all(clients.map(client => client.text('pid')))).size, 1, 'on one child')
  })
}

// what no JSON parser keeps: numbers beyond 2^53, their spelling, the order and the repetition of members
const ODD = '{"big":9007199254740993,"spelled":1.50e+2,"z":1,"a":{"unknown":[null,0.1,-0]},"z":2,"text":"\\u00e9\\/"}'

t.test('numbers, order and unknown members cross unchanged, both ways', async (t) => {
  const { url } = await startProxy(t)
  const params = `{"name":"raw","vendor":${ODD},"arguments":${ODD},"_meta":{"x":9007199254740993}}`
  const verbatim = JSON.stringify({ name: 'verbatim', arguments: { json: ODD } })
  const sse = await openRawSse(t, url)
  const stream = await rawPost(t, url)
  for (const [over, ask] of [['sse', sse], ['stream', stream]] as const) {
    for (const id of ['7', '"7"', '"a \\"quoted\\" id"', '12345678901234567']) {
      const answer = await ask(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":${verbatim}}`, id)
      t.equal(answer, `{"jsonrpc":"2.0","id":${id},"result":${ODD}}`, `${over}: an answer to ${id}`)
      const seen = await ask(`{"jsonrpc":"2.0","vendor":1,"id":${id},"method":"tools/call","params":${params}}`, id)
      const { result } = JSON.parse(seen) as { result: { content: [{ text: string }] } }
      t.match(result.content[0].text, new RegExp(`^${escape('{"jsonrpc":"2.0","vendor":1,"id":')}\\d+${escape(`,"method":"tools/call","params":${params}}`)}$`), `${over}: the request of ${id}`)
    }
  }
})

t.test('a connection without a request does not keep the app from closing', async (t) => {
  const { app, url } = await startProxy(t)
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  await Promise.all([once(socket, 'connect'), once(app.server, 'connection')])
  const closed = once(socket, 'close')
  await app.close()
  await closed
  t.pass('closed')
})

function escape (text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}
