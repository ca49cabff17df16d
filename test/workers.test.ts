import { Agent } from 'node:http'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { CHILD, lean } from './helpers/app.js'
import { OVER, openClient, type OpenClient } from './helpers/clients.js'
import { childNamed } from './helpers/eras.js'
import { call } from './helpers/http.js'
import { headersOf, modern, META, REVISION } from './helpers/modern.js'
import { until } from './helpers/until.js'
import { open, openSession, openSessions, send, serveWorkers, workerOf } from './helpers/workers.js'

const COMMAND = lean(CHILD)

t.setTimeout(110_000)

t.test('many clients at once, over both transports: streams, progress and callbacks are each client\'s own', async (t) => {
  const { url } = await serveWorkers(t, COMMAND)
  const clients: OpenClient[] = []
  const workers = new Set<number>()
  // connections are shared out in turn and clients may open the same number of them each, so that others come in between
  for (let n = 0; n < 12 || workers.size < 3; n++) {
    if (Math.random() < 0.5) await openSession(url)
    const answers = { elicit: ({ message }: { message: string }) => ({ answer: `${n} was told ${message}` }) }
    const client = await openClient(t, OVER[n % 2] ?? 'sse', url, { capabilities: { elicitation: { form: {} } }, answers })
    clients.push(client)
    if (client.sessionId() !== undefined) workers.add(workerOf(client.sessionId()))
  }
  await Promise.all(clients.map(async (client, n) => {
    for (let round = 0; round < 3; round++) {
      const params = { message: `question ${n}/${round}`, requestedSchema: { type: 'object', properties: { answer: { type: 'string' } } } }
      t.same(JSON.parse(await client.text('ask', { method: 'elicitation/create', params })), { action: 'accept', content: { answer: `${n} was told question ${n}/${round}` } })
      t.equal(await client.text('progress', { count: 50 }, { onprogress: () => {} }), 'done')
      t.strictSame(client.wire.received.slice(-51, -1).map(({ params }) => params?.['progress']), Array.from({ length: 50 }, (_, index) => index + 1))
      t.equal(await client.text('echo', { text: `${n}` }), `${n}`)
    }
    await client.call('listChanged')
    await until(() => client.wire.received.some(({ method }) => method === 'notifications/tools/list_changed'))
  }))
})

t.test('a modern client is asked in several rounds, whichever worker it comes back to', async (t) => {
  const { url, running } = await serveWorkers(t, ['--debug', ...childNamed('legacy').command])
  const answers = { elicit: ({ message }: { message: string }) => ({ answer: `told ${message}` }) }
  // a connection for each request: the next worker's turn
  const client = await openClient(t, 'stream', url, { sdk: 'v2-pinned', path: '/mcp', capabilities: { elicitation: { form: {}, url: {} } }, answers, headers: { connection: 'close' } })
  const told = await Promise.all(Array.from({ length: 8 }, async (_, n) => JSON.parse(await client.text('askTwice', { say: `question ${n}` })) as object))
  t.strictSame(told, told.map((_, n) => ({ first: `told question ${n} 1`, second: `told question ${n} 2` })))
  const asked = client.wire.sent.filter(({ method }) => method !== undefined).length
  const seen = (): Array<Record<string, unknown>> => running.log().filter(({ msg }) => msg === 'incoming request')
  t.equal(new Set(seen().map(({ worker }) => worker)).size, 3, 'all workers were asked')
  t.ok(seen().length > asked, 'and have passed some on')
})

t.test('the state of a call leads to its worker, and nobody else can use it there', async (t) => {
  const { url } = await serveWorkers(t, ['--user-id', 'ada', '--user-id', 'grace', ...childNamed('legacy').command])
  const meta = { ...META, 'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {} } } }
  const ask = async (user: string, more: object = {}): Promise<{ status: number, result: Record<string, unknown>, error?: { message: string } }> => {
    const request = modern(1, 'tools/call', { name: 'askForm', arguments: { say: 'x' }, ...more }, meta)
    const { status, body } = await send(url, { headers: headersOf(request, { 'x-user-id': user }), body: request })
    return { status, ...JSON.parse(body) as { result: Record<string, unknown> } }
  }
  const { result: { requestState, inputRequests } } = await ask('ada')
  const [key = ''] = Object.keys(inputRequests as object)
  t.match(requestState, /^w[123]\.[\w-]+$/)
  const retry = { requestState, inputResponses: { [key]: { action: 'accept', content: { answer: 'yes' } } } }
  // three connections one after the other: one of them each worker's
  for (let n = 0; n < 3; n++) t.match(await ask('grace', retry), { status: 400, error: { message: /another user/ } })
  for (let n = 1; n <= 4; n++) {
    if (!String(requestState).startsWith(`w${n}.`)) t.match(await ask('ada', { ...retry, requestState: String(requestState).replace(/^w\d/, `w${n}`) }), { status: 400, error: { message: /was changed/ } })
  }
  t.match(await ask('ada', retry), { status: 200, result: { content: [{ text: '{"form":"yes"}' }] } })
  for (let n = 0; n < 3; n++) t.match(await ask('ada', retry), { status: 400, error: { message: /used already/ } })
})

t.test('one connection can be used for sessions of all workers, and for answers that come bit by bit', async (t) => {
  const { url } = await serveWorkers(t, ['--isolation', 'shared', ...COMMAND])
  const sessions = await openSessions(url, 3)
  t.equal(new Set(sessions.map(headers => workerOf(headers['mcp-session-id']))).size, 3)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const pids: string[] = []
  for (let n = 0; n < 9; n++) {
    const headers = sessions[n % 3] ?? {}
    const { status, body, reused } = await send(url, { agent, headers, body: call(n, 'pid') })
    t.equal(status, 200)
    t.equal(reused, n > 0)
    pids.push(body)
    const direct = await send(url, { headers, body: call(n, 'pid') })
    t.equal(body, direct.body, 'the same child as over a connection of its own')
  }
  t.equal(new Set(pids.map(body => (JSON.parse(body) as { result: { content: [{ text: string }] } }).result.content[0].text)).size, 3)

  for (const headers of sessions) {
    const { response } = await open(url, { agent, headers, body: call('slow', 'gated', {}, { progressToken: 'p' }) })
    t.match(response.headers['content-type'], 'text/event-stream')
    let heard = ''
    const ended = new Promise(resolve => response.once('end', resolve))
    response.setEncoding('utf8').on('data', (text: string) => { heard += text })
    await until(() => heard.includes('"progress":1'))
    await send(url, { headers, body: call('open', 'open') })
    await ended
    t.match(heard, /"progress":3[^]*through/)
    const answer = await send(url, { agent, headers, body: call('big', 'echo', { text: 'x'.repeat(1_000_000) }) })
    t.ok(answer.body.includes('x'.repeat(1_000_000)))
    t.equal((await send(url, { agent, headers, method: 'DELETE' })).status, 204)
    t.equal((await send(url, { agent, headers, body: call(1, 'pid') })).status, 404)
  }
  for (const id of ['x-w1', 'x-w2', 'x-w3', 'x-w4', 'x-w999', 'x', '-w', 'w1']) t.equal((await send(url, { agent, headers: { 'mcp-session-id': id }, body: call(1, 'pid') })).status, 404, id)
})

t.test('nothing is lost of what follows the first head of a connection', async (t) => {
  const { url } = await serveWorkers(t, ['--isolation', 'shared', ...COMMAND])
  const sessions = await openSessions(url, 3)
  await Promise.all(Array.from({ length: 24 }, async (_, n) => {
    const text = `${n} ${'y'.repeat(300_000 + n)}`
    const { body } = await send(url, { headers: sessions[n % 3] ?? {}, body: call(n, 'echo', { text }) })
    t.ok(body.includes(`"${text}"`), `${n}`)
  }))
})

t.test('a session is its user\'s in every worker, on whatever connection', async (t) => {
  const { url } = await serveWorkers(t, ['--user-id', 'ada', '--user-id', 'grace', ...COMMAND])
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (const user of ['ada', 'grace', 'ada']) {
    const session = await openSession(url, { 'x-user-id': user })
    const other = user === 'ada' ? 'grace' : 'ada'
    for (const options of [{}, { agent }]) {
      t.equal((await send(url, { ...options, headers: session, body: call(1, 'pid') })).status, 200)
      t.equal((await send(url, { ...options, headers: { ...session, 'x-user-id': other }, body: call(1, 'pid') })).status, 404)
      t.equal((await send(url, { ...options, headers: { ...session, 'x-user-id': 'eve' }, body: call(1, 'pid') })).status, 401)
      // guards see the client's connection, whatever it says about that
      for (const lie of [{}, { 'mcp-proxy-connection': '192.0.2.1 192.0.2.1 1' }]) t.equal((await send(url, { ...options, headers: { ...session, ...lie, host: 'evil.example' }, body: call(1, 'pid') })).status, 403)
    }
  }
})

t.test('all servers of a configuration are served by each worker', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'mcp-proxy-test-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const [command = '', ...args] = childNamed('legacy').command
  const file = join(directory, 'mcp.json')
  await writeFile(file, JSON.stringify({ mcpServers: { one: { command, args }, two: { command, args }, none: { command: 'no-such-command' } } }))
  const { url, running } = await serveWorkers(t, ['--config', file])
  t.match(running.stdout(), /one[^]*two[^]*Not running:\n {2}none: /)
  for (const name of ['one', 'two']) {
    for (let n = 0; n < 3; n++) {
      const answers = { elicit: () => ({ answer: 'yes' }) }
      const client = await openClient(t, 'stream', url, { sdk: n === 0 ? 'v1' : 'v2-pinned', path: `/${name}/mcp`, capabilities: { elicitation: { form: {}, url: {} } }, answers, headers: { connection: 'close' } })
      t.equal(await client.text('askForm', { say: 'x' }), '{"form":"yes"}')
    }
  }
  const opened = modern(1, 'tools/list')
  t.equal((await send(url, { path: '/one/mcp', headers: headersOf(opened, { 'mcp-protocol-version': REVISION }), body: opened })).status, 200)
})
