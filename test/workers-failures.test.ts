import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { CHILD, lean, type Teardown } from './helpers/app.js'
import { isAlive, runBinary } from './helpers/binary.js'
import { openClient, type OpenClient } from './helpers/clients.js'
import { call } from './helpers/http.js'
import { until } from './helpers/until.js'
import { openSession, openSessions, plug, Plug, send, serveWorkers, workerOf } from './helpers/workers.js'

const COMMAND = lean(CHILD)

t.setTimeout(110_000)

/** A client of each worker, by its number, and the processes that serve it. */
async function openAll (t: Teardown, url: string): Promise<Map<number, { client: OpenClient, child: number }>> {
  const all = new Map<number, { client: OpenClient, child: number }>()
  while (all.size < 3) {
    const client = await openClient(t, 'stream', url, { path: '/mcp' })
    const worker = workerOf(client.sessionId())
    if (!all.has(worker)) all.set(worker, { client, child: Number(await client.text('pid')) })
  }
  return all
}

t.test('a worker that is killed takes its sessions along; the others go on, and another one follows', async (t) => {
  const { url, running, workers } = await serveWorkers(t, COMMAND)
  const all = await openAll(t, url)
  const before = workers()
  const { client, child } = all.get(2) ?? {}
  const session = { 'mcp-session-id': client?.sessionId() ?? '' }
  const lost = t.rejects(async () => { await client?.text('never', { label: 'x' }) })
  await running.wrote(/never x/)
  process.kill(before.get(2) ?? 0, 'SIGKILL')
  await lost
  t.equal((await send(url, { headers: session, body: call(1, 'pid') })).status, 404)
  for (const number of [1, 3]) t.equal(await all.get(number)?.client.text('pid'), String(all.get(number)?.child), `worker ${number}`)
  await until(() => !isAlive(child ?? 0))
  await until(() => workers().get(2) !== before.get(2))
  t.match(running.log().find(({ msg }) => String(msg).startsWith('worker has ended')), { worker: 2, signal: 'SIGKILL', code: null })
  t.equal((await send(url, { headers: session, body: call(1, 'pid') })).status, 404, 'its successor knows nothing of it')
  const again = await openAll(t, url)
  t.equal(await again.get(2)?.client.text('echo', { text: 'back' }), 'back')
  for (const number of [1, 3]) t.equal(await all.get(number)?.client.text('echo', { text: 'still' }), 'still')
})

t.test('connections that are on their way to a worker when it is killed are ended, or another one gets them', async (t) => {
  const { url, workers } = await serveWorkers(t, ['--isolation', 'shared', ...COMMAND])
  const stop = new AbortController()
  const asking = Array.from({ length: 30 }, async () => {
    while (!stop.signal.aborted) {
      const client = new Plug(t, url)
      client.socket.write('GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n')
      await Promise.race([once(client.socket, 'data'), once(client.socket, 'close')]).catch(() => {})
      client.socket.destroy()
    }
  })
  for (const number of [1, 2, 3]) {
    const before = workers().get(number) ?? 0
    process.kill(before, 'SIGKILL')
    await until(() => workers().get(number) !== before)
  }
  stop.abort()
  await Promise.all(asking)
  t.equal(workers().size, 3)
})

t.test('a call that is passed on gets an error when its worker dies', async (t) => {
  const { url, running, workers } = await serveWorkers(t, ['--isolation', 'shared', ...COMMAND])
  const sessions = await openSessions(url, 3)
  const [headers = {}] = sessions
  // the first request shows which worker gets the connection: another's
  const client = new Plug(t, url)
  client.send('POST', sessions[1] ?? {}, call(1, 'echo', { text: 'first' }))
  await client.hears('first')
  client.send('POST', headers, call(2, 'never', { label: 'x' }))
  await running.wrote(/never x/)
  process.kill(workers().get(workerOf(headers['mcp-session-id'])) ?? 0, 'SIGKILL')
  await client.hears('MCP_ERR_WORKER_LOST')
  t.match(client.heard, /^HTTP\/1\.1 502 /)
  t.notOk(client.socket.destroyed, 'the connection is as good as before')
  // until another worker has its place, whoever asks for it hears the same
  let id = 3
  do {
    client.send('POST', headers, call(id++, 'echo', { text: 'third' }))
    await client.hears('MCP_ERR_')
  } while (client.heard.startsWith('HTTP/1.1 502 '))
  t.match(client.heard, /^HTTP\/1\.1 404 /)
})

t.test('an upload that is passed on and answered early leaves its connection as good as before', async (t) => {
  const { url } = await serveWorkers(t, ['--isolation', 'shared', '--body-limit', '100000', ...COMMAND])
  const [one = {}, two = {}] = await openSessions(url, 2)
  const client = new Plug(t, url)
  client.send('POST', two, call(1, 'echo', { text: 'first' }))
  await client.hears('first')
  client.send('POST', one, call(2, 'echo', { text: 'x'.repeat(20_000_000) }))
  await client.hears('HTTP/1.1 413 ')
  client.send('POST', one, call(3, 'echo', { text: 'third' }))
  await client.hears('third')
})

t.test('a worker that hangs is given a few connections, not every third one', { skip: process.platform === 'win32' }, async (t) => {
  const { url, workers } = await serveWorkers(t, ['--isolation', 'shared', ...COMMAND])
  const hanging = workers().get(2) ?? 0
  process.kill(hanging, 'SIGSTOP')
  t.teardown(() => process.kill(hanging, 'SIGCONT'))
  let answered = 0
  const next = (): void => {
    const socket = plug(t, url)
    socket.once('data', () => {
      answered++
      next()
    })
    socket.write('GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n')
  }
  // two may be lost to it: one on its way, and one behind that
  for (let n = 0; n < 4; n++) next()
  await until(() => answered >= 60)
})

t.test('a client that leaves a stream which is passed on has left it in its worker too', async (t) => {
  const { url } = await serveWorkers(t, ['--isolation', 'session', '--idle-timeout', '3000', ...COMMAND])
  const [one = {}, two = {}] = await openSessions(url, 2)
  t.not(workerOf(one['mcp-session-id']), workerOf(two['mcp-session-id']))
  const pid = await send(url, { headers: one, body: call(1, 'pid') })
  const { result } = JSON.parse(pid.body) as { result: { content: Array<{ text: string }> } }
  const child = Number(result.content[0]?.text)
  const client = new Plug(t, url)
  client.send('POST', two, call(1, 'echo', { text: 'first' }))
  await client.hears('first')
  client.send('GET', one)
  await client.hears('HTTP/1.1 200 ')
  t.ok(isAlive(child))
  client.socket.destroy()
  // a session with an open stream is never idle
  await until(() => !isAlive(child))
})

t.test('a worker that follows another serves, though the command does not run any more', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'mcp-proxy-test-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const file = join(directory, 'child.mjs')
  await copyFile(CHILD[1] ?? '', file)
  const { url, running, workers } = await serveWorkers(t, [process.execPath, file])
  const [session] = [await openSession(url)]
  const other = [1, 2, 3].find(number => number !== workerOf(session?.['mcp-session-id'])) ?? 0
  const before = workers().get(other) ?? 0
  await rm(file)
  process.kill(before, 'SIGKILL')
  await until(() => workers().get(other) !== before)
  t.match(running.log().find(({ msg }) => String(msg).startsWith('the MCP server does not run')), { worker: other, err: { code: /MCP_ERR_CHILD/ } })
  t.equal((await send(url, { headers: session ?? {}, body: call(1, 'echo', { text: 'x' }) })).status, 200)
  t.equal(running.process.exitCode, null)
})

const STUBBORN = { MCP_CHILD_IGNORE_TERM: '1', MCP_CHILD_IGNORE_EOF: '1' }

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} ends all workers and their children, with exit code 0 and nothing left behind`, async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'mcp-proxy-test-'))
    t.teardown(() => rm(directory, { recursive: true }))
    const { url, running, workers } = await serveWorkers(t, ['--stop-timeout', '100', ...CHILD], { env: { ...STUBBORN, TMPDIR: directory } })
    const processes = [...workers().values(), ...[...(await openAll(t, url)).values()].map(({ child }) => child)]
    t.equal(readdirSync(directory).length, process.platform === 'win32' ? 0 : 1)
    t.ok(processes.length === 6 && processes.every(isAlive))
    // as a terminal does: everybody hears it
    if (signal === 'SIGINT') for (const pid of workers().values()) process.kill(pid, signal)
    running.process.kill(signal)
    t.same(await running.ended, { code: 0, signal: null })
    t.same(processes.filter(isAlive), [])
    t.same(readdirSync(directory), [])
    t.notOk(running.log().some(({ msg }) => String(msg).startsWith('worker has ended')))
  })
}

t.test('a call that ends within --close-grace gets its answer, also what other clients have to say for that', async (t) => {
  const { url, running } = await serveWorkers(t, ['--isolation', 'shared', '--close-grace', '60000', ...COMMAND])
  const all = await openAll(t, url)
  const answered: string[] = []
  await Promise.all([...all.values()].map(({ client }) => new Promise<void>((resolve, reject) => {
    client.text('gated', {}, { onprogress: () => resolve() }).then(text => answered.push(text), reject)
  })))
  running.process.kill('SIGTERM')
  await until(() => running.log().filter(({ msg }) => msg === 'stopping').length === 4)
  for (const { child } of all.values()) process.kill(child, 'SIGUSR2')
  await until(() => answered.length === 3)
  t.same(answered, ['through', 'through', 'through'])
  t.same(await running.ended, { code: 0, signal: null })
})

t.test('a second signal does not wait, and takes all along', async (t) => {
  const { url, running, workers } = await serveWorkers(t, ['--close-grace', '3600000', '--stop-timeout', '3600000', ...COMMAND], { env: STUBBORN })
  const all = await openAll(t, url)
  const lost = [...all].map(async ([number, { client }]) => {
    const rejected = t.rejects(client.text('never', { label: `of ${number}` }))
    await running.wrote(new RegExp(`never of ${number}`))
    return rejected
  })
  await Promise.all([...all.keys()].map(number => running.wrote(new RegExp(`never of ${number}`))))
  const processes = [...workers().values(), ...[...all.values()].map(({ child }) => child)]
  const timer = setInterval(() => running.process.kill('SIGTERM'), 50)
  t.teardown(() => clearInterval(timer))
  t.same(await running.ended, { code: 1, signal: null })
  clearInterval(timer)
  await Promise.all(lost)
  await until(() => !processes.some(isAlive))
})

t.test('workers end by themselves when the process that started them was killed', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'mcp-proxy-test-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const { url, running, workers } = await serveWorkers(t, COMMAND, { env: { TMPDIR: directory } })
  const processes = [...workers().values(), ...[...(await openAll(t, url)).values()].map(({ child }) => child)]
  running.process.kill('SIGKILL')
  await until(() => !processes.some(isAlive))
  t.same(readdirSync(directory), [])
})

for (const moment of [/Server listening/, /server started/, /worker is ready/]) {
  t.test(`so they do when it was killed while they began, at "${moment.source}", and take its directory away`, async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'mcp-proxy-test-'))
    t.teardown(() => rm(directory, { recursive: true }))
    const running = runBinary(t, ['--port', '0', '--workers', '3', ...COMMAND], { env: { TMPDIR: directory } })
    await running.wrote(moment)
    running.process.kill('SIGKILL')
    // they share its stderr
    await running.ended
    t.same(readdirSync(directory), [])
    t.notMatch(running.stderr(), /Error:/)
  })
}

t.test('what is left of processes that were all killed is taken away at the next start', { skip: process.platform === 'win32' }, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'mcp-proxy-test-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const first = await serveWorkers(t, COMMAND, { env: { TMPDIR: directory } })
  for (const pid of [...first.workers().values(), first.running.process.pid ?? 0]) process.kill(pid, 'SIGSTOP')
  for (const pid of [...first.workers().values(), first.running.process.pid ?? 0]) process.kill(pid, 'SIGKILL')
  await first.running.ended
  const left = readdirSync(directory)
  t.equal(left.length, 1)
  await serveWorkers(t, COMMAND, { env: { TMPDIR: directory } })
  await until(() => !readdirSync(directory).includes(left[0] ?? ''))
  t.equal(readdirSync(directory).length, 1)
})

t.test('with --exit-with-parent the end of stdin ends all', async (t) => {
  const { running, workers } = await serveWorkers(t, ['--exit-with-parent', ...COMMAND])
  const processes = [...workers().values()]
  running.process.stdin?.end()
  t.same(await running.ended, { code: 0, signal: null })
  t.same(processes.filter(isAlive), [])
})
