import { readFileSync } from 'node:fs'
import t from 'tap'
import { buildProxy, childrenOf, startProxy } from './helpers/app.js'
import { call, initialize, messages, post } from './helpers/http.js'
import { live } from './helpers/live.js'
import { until } from './helpers/until.js'

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }

/** A process is gone, or only waits to be reaped, which is not ours to do for a grandchild. */
function ended (pid: number): boolean {
  try {
    if (process.platform !== 'linux') return !process.kill(pid, 0)
    return /^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true
  }
}

t.test('bodies that are not JSON or of wrong types: the child and the session go on', async (t) => {
  const app = await buildProxy(t)
  const session = await initialize(app)
  const pid = (await post(app, call('p', 'pid'), session)).body
  for (const body of ['{', '\0', '"', '[[]]', '{"jsonrpc":"2.0","id":1,"method":7}', '{"jsonrpc":"2.0","id":[1],"method":"ping"}', '{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}', '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', '{"__proto__":{"jsonrpc":"2.0","id":1,"method":"ping"}}']) {
    const answer = await post(app, body, session)
    t.equal(answer.statusCode, 400, JSON.stringify(body))
    t.match(answer.json(), { jsonrpc: '2.0', error: { code: /-32700|-32600/ } })
  }
  t.equal((await post(app, call('p', 'pid'), session)).body, pid)
})

t.test('a body of 20 MB against the limit of 10 MiB: refused, the socket and the child survive', async (t) => {
  const { app, url } = await startProxy(t)
  const session = await initialize(app)
  const pid = (await post(app, call('p', 'pid'), session)).body
  const refused = await live(t, `${url}/stream`, { method: 'POST', headers: session, body: call(1, 'echo', { text: 'x'.repeat(20_000_000) }) })
  t.equal(await refused.ended, 'whole')
  t.equal(refused.status, 413)
  t.match(JSON.parse(refused.text), { error: { message: /10485760 bytes/ } })
  const large = await post(app, call(2, 'echo', { text: 'x'.repeat(10_000_000) }), session)
  t.equal(large.statusCode, 200, 'what fits passes')
  t.equal((await post(app, call('p', 'pid'), session)).body, pid)
})

t.test('names of Object.prototype as session ids are unknown sessions', async (t) => {
  const app = await buildProxy(t)
  for (const id of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    t.equal((await post(app, PING, { 'mcp-session-id': id })).statusCode, 404, id)
    t.equal((await post(app, PING, {}, `/messages?sessionId=${id}`)).statusCode, 404, id)
    t.equal((await app.inject({ method: 'DELETE', url: '/stream', headers: { 'mcp-session-id': id } })).statusCode, 404)
  }
})

t.test('a session of one transport is unknown to the other, and a foreign one to everybody', async (t) => {
  const app = await buildProxy(t, { userId: ['ann', 'bob'] })
  const session = await initialize(app, { headers: { 'x-user-id': 'ann' } })
  t.equal((await post(app, PING, { 'x-user-id': 'ann' }, `/messages?sessionId=${session['mcp-session-id']}`)).statusCode, 404)
  t.equal((await post(app, PING, { ...session, 'x-user-id': 'bob' })).statusCode, 404)
  t.equal((await post(app, PING, session)).statusCode, 200)
})

t.test('two clients with the same ids, numbers and strings, get their own answers', async (t) => {
  const app = await buildProxy(t)
  const [ann, bob] = [await initialize(app), await initialize(app)]
  const ids = [1, '1', 0, -1, 'é', '', 2 ** 53 - 1, '"', 1.5]
  const answers = await Promise.all(ids.flatMap(id => [post(app, call(id, 'echo', { text: `ann ${id}` }), ann), post(app, call(id, 'echo', { text: `bob ${id}` }), bob)]))
  t.strictSame(answers.map(answer => answer.json<unknown>()), ids.flatMap(id => ['ann', 'bob'].map(who => ({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: `${who} ${id}` }] } }))))
})

t.test('a child that prints garbage, at start and between answers', async (t) => {
  const app = await buildProxy(t, { env: { MCP_CHILD_GARBAGE: '1' } })
  const session = await initialize(app)
  t.match((await post(app, call(1, 'garbage'), session)).json(), { id: 1, result: { content: [{ text: 'still here' }] } })
})

t.test('a child that writes 10 MB to stderr is not held up, and what is kept of it is bounded', async (t) => {
  const app = await buildProxy(t)
  const session = await initialize(app)
  t.match((await post(app, call(1, 'stderr', { bytes: 10_000_000 }), session)).json(), { result: { content: [{ text: 'complained' }] } })
  await until(() => childrenOf(app).some(({ stderr }) => stderr.length > 0))
  t.ok(JSON.stringify(childrenOf(app)).length < 1_000_000)
})

t.test('a child that splits a character over chunks, or puts carriage returns between tokens', async (t) => {
  const app = await buildProxy(t)
  const session = await initialize(app)
  t.match((await post(app, call(1, 'splitUtf8'), session)).json(), { result: { content: [{ text: '日本語 🎈' }] } })
  t.match((await post(app, call(2, 'crlf'), session)).json(), { id: 2, result: { content: [{ text: 'crlf' }] } })
})

t.test('a child that answers out of order, or twice', async (t) => {
  const app = await buildProxy(t)
  const session = await initialize(app)
  const gated = post(app, call(1, 'gated'), session)
  await until(() => childrenOf(app).some(({ calls }) => calls > 0))
  const [twice, after] = [await post(app, call(2, 'twice'), session), await post(app, call(3, 'echo', { text: 'after' }), session)]
  t.match([twice, after].map(answer => answer.json<unknown>()), [{ id: 2, result: { content: [{ text: 'first' }] } }, { id: 3, result: { content: [{ text: 'after' }] } }])
  await post(app, call(4, 'open'), session)
  t.match(messages((await gated).body.includes('data:') ? (await gated).body : `data: ${(await gated).body}\n\n`).at(-1), { id: 1, result: { content: [{ text: 'through' }] } })
})

t.test('a child that dies at start fails calls with an error, and is tried again', async (t) => {
  const app = await buildProxy(t, { env: { MCP_CHILD_EXIT: '9' } })
  for (let round = 0; round < 2; round++) {
    const answer = await post(app, { jsonrpc: '2.0', id: round, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 't', version: '1' } } })
    t.equal(answer.statusCode, 502)
    t.match(answer.json(), { id: round, error: { message: /exit code 9/ } })
  }
})

t.test('a child that dies in a call of one client: all open calls fail, all sessions go on', async (t) => {
  const app = await buildProxy(t)
  const sessions = await Promise.all([1, 2, 3].map(() => initialize(app)))
  const open = sessions.map(session => post(app, call(1, 'never'), session))
  await until(() => childrenOf(app).some(({ calls }) => calls === 3))
  await post(app, call(2, 'exit', { code: 5 }), sessions[0])
  for (const answer of await Promise.all(open)) t.match(answer.json(), { id: 1, error: { code: -32000, message: /exit code 5/ } })
  for (const session of sessions) t.match((await post(app, call(3, 'echo', { text: 'on' }), session)).body, /"text":"on"/)
})

t.test('a child that ignores the end of its input and SIGTERM, with a grandchild that does too: app.close() leaves nothing', async (t) => {
  const app = await buildProxy(t, { stopTimeout: 50, env: { MCP_CHILD_IGNORE_EOF: '1', MCP_CHILD_IGNORE_TERM: '1', MCP_CHILD_GRANDCHILD: '1' } })
  await initialize(app)
  const grandchildOf = (): number => Number(/grandchild (\d+)/.exec(childrenOf(app).flatMap(({ stderr }) => stderr).join('\n'))?.[1])
  await until(() => grandchildOf() > 0)
  const pids = [grandchildOf(), ...childrenOf(app).map(({ pid }) => pid ?? 0)]
  t.ok(pids.every(pid => pid > 0 && !ended(pid)))
  await app.close()
  await until(() => pids.every(ended))
})

t.test('a client that leaves mid-call: the answer waits for it, others are not held up', async (t) => {
  const { app, url } = await startProxy(t)
  const [leaver, stayer] = [await initialize(app, { revision: '2025-11-25' }), await initialize(app)]
  const gated = await live(t, `${url}/stream`, { method: 'POST', headers: leaver, body: call(1, 'gated', {}, { progressToken: 'p' }) })
  await gated.until('notifications/progress')
  gated.leave()
  t.match((await post(app, call(1, 'open'), stayer)).json(), { result: { content: [{ text: 'opened' }] } })
  const resumed = await live(t, `${url}/stream`, { headers: { ...leaver, 'last-event-id': gated.lastId } })
  t.equal(await resumed.ended, 'whole')
  t.match(resumed.messages, [{ params: { progress: 2 } }, { params: { progress: 3 } }, { id: 1, result: { content: [{ text: 'through' }] } }])
})

t.test('a client that leaves in the middle of a stream of 20 MB: others get theirs', async (t) => {
  const { app, url } = await startProxy(t)
  const [leaver, stayer] = [await initialize(app), await initialize(app)]
  const flood = await live(t, `${url}/stream`, { method: 'POST', headers: leaver, body: call(1, 'notifyMany', { count: 2000, bytes: 10_000 }, { progressToken: 1 }) })
  await flood.until('progress')
  flood.leave()
  t.match((await post(app, call(1, 'echo', { text: 'mine' }), stayer)).json(), { result: { content: [{ text: 'mine' }] } })
  t.equal((await post(app, { ...PING, id: 2 }, leaver)).statusCode, 200, 'its session is there')
})

t.test('app.close() with streams open on every endpoint: all end whole, no reset', async (t) => {
  const { app, url } = await startProxy(t, { closeGrace: 3_600_000 })
  const session = await initialize(app)
  const streams = await Promise.all([
    live(t, `${url}/sse`),
    live(t, `${url}/sse`),
    live(t, `${url}/stream`, { headers: session }),
  ])
  // a grace of an hour: only calls that are open are waited for
  await app.close()
  t.strictSame(await Promise.all(streams.map(stream => stream.ended)), ['whole', 'whole', 'whole'])
})
