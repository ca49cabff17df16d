import t from 'tap'
import { initialize, post, type Json } from './helpers/http.js'
import { headersOf, modern, META } from './helpers/modern.js'
import { buildPuppet, startPuppet } from './helpers/puppet.js'
import { live } from './helpers/live.js'

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01'
const OTHER = '00-11111111111111111111111111111111-2222222222222222-00'

/** What the server finds in `_meta`, by what a stateless legacy client puts there and in its headers. */
async function carried (t: Parameters<typeof buildPuppet>[0], headers: Record<string, string>, meta?: unknown): Promise<unknown> {
  const { app, puppet } = await buildPuppet(t, { stream: { stateless: true } })
  const answer = await post(app, { jsonrpc: '2.0', id: 1, method: 'ping', ...(meta !== undefined && { params: { _meta: meta } }) }, headers)
  if (answer.statusCode !== 200) throw new Error(answer.body)
  return puppet.party.heard[0]?.params?.['_meta']
}

t.test('headers go into _meta of a request that has none of it', async (t) => {
  t.same(await carried(t, { traceparent: PARENT }), { traceparent: PARENT })
  t.same(await carried(t, { traceparent: PARENT, tracestate: 'a=1,b=2', baggage: 'user=ann;p="q"' }, { progressToken: 7 }), { progressToken: 7, traceparent: PARENT, tracestate: 'a=1,b=2', baggage: 'user=ann;p="q"' })
  t.same(await carried(t, { baggage: 'a=1' }, {}), { baggage: 'a=1' })
})

t.test('what the body has stays, and is not mixed with the headers', async (t) => {
  const headers = { traceparent: PARENT, tracestate: 'h=1', baggage: 'h=1' }
  t.same(await carried(t, headers, { traceparent: OTHER, tracestate: 'b=1', baggage: 'b=1' }), { traceparent: OTHER, tracestate: 'b=1', baggage: 'b=1' })
  t.same(await carried(t, headers, { traceparent: OTHER }), { traceparent: OTHER, baggage: 'h=1' })
  t.same(await carried(t, headers, { tracestate: 'b=1' }), { tracestate: 'b=1', baggage: 'h=1' })
  t.same(await carried(t, headers, { baggage: null }), { baggage: null, traceparent: PARENT, tracestate: 'h=1' })
})

t.test('a traceparent has the form of its standard, or is left out with its tracestate', async (t) => {
  const fine = [PARENT, PARENT.replace(/^00/, '01'), `${PARENT.replace(/^00/, 'cc')}-what-comes`]
  for (const traceparent of fine) t.same(await carried(t, { traceparent }), { traceparent })
  const wrong = [
    '', 'x', PARENT.toUpperCase(), `${PARENT}-more`, `${PARENT}, ${PARENT}`, ` ${PARENT}`, PARENT.replace(/^00/, 'ff'), PARENT.slice(0, -1),
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, `00-0af7651916cd43dd8448eb211c80319c-${'0'.repeat(16)}-01`, `cc${PARENT.slice(2)}-${'x'.repeat(9000)}`,
  ]
  for (const traceparent of wrong) t.same(await carried(t, { traceparent, tracestate: 'a=1' }), undefined, traceparent.slice(0, 70))
  t.same(await carried(t, { tracestate: 'a=1' }), undefined, 'a tracestate alone')
})

t.test('tracestate and baggage are bounded, and printable ASCII', async (t) => {
  const long = 'x'.repeat(8192)
  t.same(await carried(t, { traceparent: PARENT, tracestate: long, baggage: long }), { traceparent: PARENT, tracestate: long, baggage: long })
  for (const value of [`${long}x`, 'ö', '\u0001', '']) t.same(await carried(t, { traceparent: PARENT, tracestate: value, baggage: value }), { traceparent: PARENT }, value.slice(0, 5))
})

t.test('a _meta that is no object is left as it is', async (t) => {
  for (const meta of [null, [], 'x']) t.same(await carried(t, { traceparent: PARENT }, meta), meta)
})

t.test('all else keeps its bytes, and without headers everything does', async (t) => {
  const { app, puppet } = await buildPuppet(t, { stream: { stateless: true } })
  const body = '{ "id":1, "params":{ "n":9007199254740993, "_meta":{ "x":1.0 } }, "jsonrpc":"2.0","method":"ping"}'
  await post(app, body, { traceparent: PARENT })
  t.equal(puppet.party.heard[0]?.bytes.toString(), `{ "id":1, "params":{ "n":9007199254740993, "_meta":{ "x":1.0,"traceparent":"${PARENT}"} }, "jsonrpc":"2.0","method":"ping"}`)
  for (const headers of [{}, { tracestate: 'a=1' }, { traceparent: 'x', baggage: '' }]) {
    await post(app, body, headers)
    t.equal(puppet.party.heard[0]?.bytes.toString(), body)
  }
})

t.test('requests in a session get it, and each of a batch; notifications and answers do not', async (t) => {
  const { app, puppet } = await buildPuppet(t)
  const session = await initialize(app, { revision: '2025-03-26', headers: { traceparent: PARENT } })
  const send = async (body: Json): Promise<void> => { await post(app, body, { ...session, traceparent: PARENT }) }
  await send([{ jsonrpc: '2.0', id: 1, method: 'ping' }, { jsonrpc: '2.0', method: 'notifications/x' }, { jsonrpc: '2.0', id: 2, method: 'ping' }])
  await send({ jsonrpc: '2.0', id: 3, result: {} })
  const seen = puppet.party.heard.map(message => [message.method ?? 'answer', message.raw(['params', '_meta', 'traceparent']) === JSON.stringify(PARENT)])
  t.strictSame(seen, [['initialize', true], ['notifications/initialized', false], ['ping', true], ['notifications/x', false], ['ping', true], ['answer', false]])
})

t.test('modern requests get it', async (t) => {
  const { app, puppet } = await buildPuppet(t)
  const request = modern(1, 'ping')
  t.equal((await post(app, request, headersOf(request, { traceparent: PARENT }))).statusCode, 200)
  t.same(puppet.party.heard[0]?.params?.['_meta'], { ...META, traceparent: PARENT })
})

t.test('requests over HTTP+SSE get it', async (t) => {
  const { puppet, url } = await startPuppet(t)
  const stream = await live(t, `${url}/sse`)
  await stream.until('sessionId=')
  const { party } = puppet
  const body = { jsonrpc: '2.0', id: 1, method: 'ping' }
  await live(t, new URL(stream.events[0]?.data ?? '', url).href, { method: 'POST', headers: { traceparent: PARENT, baggage: 'a=1' }, body })
  t.same((await party.called(1)).params?.['_meta'], { traceparent: PARENT, baggage: 'a=1' })
})
