import { once } from 'node:events'
import t from 'tap'
import { CHILD } from './helpers/app.js'
import { BINARY, isAlive, runBinary, runNode, type Running, type RunOptions } from './helpers/binary.js'
import { openClient, type OpenClient } from './helpers/clients.js'
import { JSON_AND_STREAM } from './helpers/http.js'
import { until } from './helpers/until.js'

interface Teardown { teardown: (fn: () => unknown) => void }

interface Serving { running: Running, url: string, client: OpenClient, child: number }

/** The binary with a client, and the id of the process that serves it. */
async function serve (t: Teardown, args: readonly string[] = [], options?: RunOptions): Promise<Serving> {
  const running = runBinary(t, ['--port', '0', ...args, ...CHILD], options)
  const url = await running.url()
  const client = await openClient(t, 'stream', url)
  return { running, url, client, child: Number(await client.text('pid')) }
}

const STUBBORN = { MCP_CHILD_GRANDCHILD: '1', MCP_CHILD_IGNORE_TERM: '1', MCP_CHILD_IGNORE_EOF: '1' }

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  t.test(`${signal} ends it with exit code 0, and leaves no process, though none of them wants to go`, async (t) => {
    const { running, child } = await serve(t, ['--stop-timeout', '100'], { env: STUBBORN })
    const grandchild = Number((await running.wrote(/grandchild (\d+)/))[1])
    t.ok(isAlive(child) && isAlive(grandchild))
    running.process.kill(signal)
    t.same(await running.ended, { code: 0, signal: null })
    t.notOk(isAlive(child), 'child')
    t.notOk(isAlive(grandchild), 'grandchild')
    t.match(running.log().find(line => line['msg'] === 'stopping'), { reason: signal })
  })
}

t.test('SIGTERM ends open streams of both transports, as streams end', async (t) => {
  const { running, url, child } = await serve(t)
  const initialize = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'x', version: '1' } } }
  const opened = await fetch(`${url}/stream`, { method: 'POST', headers: { 'content-type': 'application/json', accept: JSON_AND_STREAM }, body: JSON.stringify(initialize) })
  const streams = await Promise.all([
    fetch(`${url}/sse`, { headers: { accept: 'text/event-stream' } }),
    fetch(`${url}/stream`, { headers: { accept: 'text/event-stream', 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' } }),
  ])
  t.same(streams.map(({ status }) => status), [200, 200])
  // a broken connection would reject
  const ended = Promise.all(streams.map(async stream => await stream.text()))
  running.process.kill('SIGTERM')
  t.same(await running.ended, { code: 0, signal: null })
  t.match((await ended)[0], /^event: endpoint/m)
  t.notOk(isAlive(child))
})

t.test('a call that ends within --close-grace gets its answer', async (t) => {
  const { running, client, child } = await serve(t, ['--close-grace', '60000'])
  let answer: Promise<string> | undefined
  await new Promise<void>((resolve) => {
    answer = client.text('gated', {}, { onprogress: () => resolve() })
  })
  running.process.kill('SIGTERM')
  await running.wrote(/"stopping"/)
  t.ok(isAlive(child), 'the child may finish')
  process.kill(child, 'SIGUSR2')
  t.equal(await answer, 'through')
  t.same(await running.ended, { code: 0, signal: null })
})

t.test('a call that does not end within --close-grace gets an error', async (t) => {
  const { running, client, child } = await serve(t, ['--close-grace', '200'])
  const answer = t.rejects(client.text('never', { label: 'x' }))
  await running.wrote(/never x/)
  running.process.kill('SIGTERM')
  await answer
  t.same(await running.ended, { code: 0, signal: null })
  t.notOk(isAlive(child))
})

t.test('a signal that comes twice at once, as with Ctrl-C under npx, is one', async (t) => {
  const { running, child } = await serve(t, ['--stop-timeout', '100'], { env: { MCP_CHILD_GRANDCHILD: '1' } })
  running.process.kill('SIGINT')
  running.process.kill('SIGINT')
  t.same(await running.ended, { code: 0, signal: null })
  t.notOk(isAlive(child))
})

t.test('a second signal later does not wait for calls, and takes the child along', async (t) => {
  const { running, client, child } = await serve(t, ['--close-grace', '3600000', '--stop-timeout', '3600000'], { env: { MCP_CHILD_IGNORE_TERM: '1', MCP_CHILD_IGNORE_EOF: '1' } })
  const answer = t.rejects(client.text('never', { label: 'x' }))
  await running.wrote(/never x/)
  running.process.kill('SIGTERM')
  await running.wrote(/"stopping"/)
  // impatient as a person is: again and again, until it is gone
  const timer = setInterval(() => running.process.kill('SIGTERM'), 50)
  t.teardown(() => clearInterval(timer))
  t.same(await running.ended, { code: 1, signal: null })
  clearInterval(timer)
  await answer
  await until(() => !isAlive(child))
})

t.test('SIGTERM while the command starts ends both', async (t) => {
  const running = runBinary(t, ['--port', '0', '--stop-timeout', '100', ...CHILD], { env: { MCP_CHILD_SILENT: '1', ...STUBBORN } })
  const grandchild = Number((await running.wrote(/grandchild (\d+)/))[1])
  running.process.kill('SIGTERM')
  t.same(await running.ended, { code: 0, signal: null })
  t.notOk(isAlive(grandchild))
  t.notMatch(running.stderr(), /^mcp-proxy:/m, 'that is no failure')
})

t.test('with --exit-with-parent the end of stdin ends it, and without it does not', async (t) => {
  const stays = await serve(t)
  const goes = await serve(t, ['--exit-with-parent'])
  stays.running.process.stdin?.end()
  goes.running.process.stdin?.end()
  t.same(await goes.running.ended, { code: 0, signal: null })
  t.notOk(isAlive(goes.child))
  t.match(goes.running.log().find(line => line['msg'] === 'stopping'), { reason: 'stdin ended' })
  t.equal(await stays.client.text('echo', { text: 'still here' }), 'still here')
})

t.test('with --exit-with-parent it goes when its parent was killed, though stdin stays open', async (t) => {
  // stdin of the proxy is a pipe that this test holds open
  const source = `import { spawn } from 'node:child_process'; spawn(process.execPath, ${JSON.stringify([BINARY, '--port', '0', '--exit-with-parent', ...CHILD])}, { stdio: [3, 'inherit', 'inherit'] })`
  const parent = runNode(t, ['--input-type=module', '-e', source], { fourth: true })
  const url = await parent.url()
  const proxy = Number(parent.log().find(line => line['msg'] === 'server started')?.['pid'])
  const child = Number(await (await openClient(t, 'stream', url)).text('pid'))
  const exited = once(parent.process, 'exit')
  t.ok(isAlive(proxy) && isAlive(child))
  parent.process.kill('SIGKILL')
  await exited
  await parent.ended
  await until(() => !isAlive(proxy) && !isAlive(child))
  t.match(parent.log().find(line => line['msg'] === 'stopping'), { reason: 'parent ended' })
})
