import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import t from 'tap'
import { startMultiStdioServer, type MultiStdioConfig } from 'mcp-proxy'
import { CHILD, fixture, startProxy, type Teardown } from './helpers/app.js'
import { runNode } from './helpers/binary.js'

const INITIALIZE = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } } }

/** A host on a pair of streams, which reads one message at a time. */
class Host {
  readonly #output: Writable
  readonly #lines: AsyncIterator<string>

  constructor (input: Readable, output: Writable) {
    this.#output = output
    this.#lines = lines(input)
  }

  async ask (message: object): Promise<unknown> {
    this.#output.write(`${JSON.stringify(message)}\n`)
    return JSON.parse(String((await this.#lines.next()).value))
  }

  async call (name: string): Promise<unknown> {
    return await this.ask({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name, arguments: {} } })
  }
}

async function * lines (input: Readable): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of input) {
    const parts = (rest + String(chunk)).split('\n')
    rest = parts.pop() ?? ''
    yield * parts
  }
}

const proxy = async (t: Teardown, ...args: string[]): Promise<string> => `${(await startProxy(t, { command: [...CHILD, ...args], closeGrace: 0 })).url}/stream`
const streams = (): { stdin: PassThrough, stdout: PassThrough } => ({ stdin: new PassThrough(), stdout: new PassThrough() })
const ARGS = (text: string): object => ({ result: { content: [{ text: JSON.stringify([text]) }] } })

/** The two ends of a connection. */
async function socketPair (t: Teardown): Promise<[Socket, Socket]> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [far] = await once(server, 'connection') as [Socket]
  server.close()
  t.teardown(() => { near.destroy(); far.destroy() })
  return [near, far]
}

t.test('each configuration has its own streams, which may be a socket', async (t) => {
  const first = streams()
  const [near, far] = await socketPair(t)
  const served = await startMultiStdioServer([
    { url: await proxy(t, 'one') },
    { url: await proxy(t, 'two'), stdin: far, stdout: far },
  ], first)
  t.teardown(() => served.close())
  const hosts = [new Host(first.stdout, first.stdin), new Host(near, near)]
  for (const [index, name] of ['one', 'two'].entries()) {
    t.match(await hosts[index]?.ask(INITIALIZE), { id: 1, result: { protocolVersion: '2025-11-25' } })
    t.match(await hosts[index]?.call('args'), ARGS(name))
  }
  near.end()
  t.match(await hosts[0]?.call('args'), ARGS('one'), 'one that ends leaves the others')
  first.stdin.end()
  await served.ended
})

t.test('streams are never shared', async (t) => {
  const url = 'http://127.0.0.1:9/'
  const [one, two] = [streams(), streams()]
  const cases: Array<readonly [MultiStdioConfig[], number]> = [
    [[{ url }, { url }], 1],
    [[{ url }, { url, stdin: one.stdin }], 1],
    [[{ url }, { url, stdout: one.stdout }], 1],
    [[{ url, ...one }, { url, ...one }], 1],
    [[{ url, ...one }, { url, ...two }, { url, stdin: two.stdin, stdout: new PassThrough() }], 2],
    [[{ url }, { url, stdin: process.stdin, stdout: one.stdout }], 1],
  ]
  for (const [configs, index] of cases) await t.rejects(startMultiStdioServer(configs), { code: 'MCP_ERR_STDIO_IN_USE', message: new RegExp(`^Configuration ${index} `) })
  t.ok([one, two].every(({ stdin }) => stdin.listenerCount('data') === 0))
})

t.test('one configuration without a list is refused', async (t) => {
  await t.rejects(startMultiStdioServer({ url: 'http://127.0.0.1:9/' } as unknown as MultiStdioConfig[]), { code: 'MCP_ERR_OPTION', message: /^Option configs must be a list .* not object$/ })
})

t.test('what cannot be merged is refused before anybody is asked', async (t) => {
  const url = 'http://127.0.0.1:9/'
  const cases: Array<readonly [MultiStdioConfig[], object]> = [
    [[], {}],
    [[{ url }], {}],
    [[{ url, name: 'a' }, { url, name: 'a' }], {}],
    [[{ url, name: 'a b' }], {}],
    [[{ url, name: 'a' }, { url, name: 'a__b' }], {}],
    [[{ url, name: 'a' }, { url, name: 'a.b' }], { separator: '.' }],
    [[{ url, name: 'a', ...streams() }], {}],
    [[{ url: 'ftp://x', name: 'a' }], {}],
  ]
  for (const [configs, options] of cases) await t.rejects(startMultiStdioServer(configs, { merge: true, ...streams(), ...options }), { code: 'MCP_ERR_OPTION' }, JSON.stringify(configs.map(({ name }) => name)))
})

t.test('all start or none does', async (t) => {
  const closed: string[] = []
  const { url } = await startProxy(t, { command: CHILD, onSessionOpen: ({ id }) => { closed.push(`open ${id}`) }, onSessionClose: ({ id }) => { closed.push(`close ${id}`) } })
  for (const options of [{}, { merge: true }]) {
    closed.length = 0
    const mine = streams()
    const more = options.merge === true ? {} : streams()
    await t.rejects(startMultiStdioServer([{ name: 'good', url: `${url}/stream` }, { name: 'bad', url: `${url}/nowhere`, ...more }], { ...mine, ...options }), { code: 'MCP_ERR_CHILD_HANDSHAKE', message: /bad/ })
    t.equal(mine.stdin.listenerCount('data'), 0, 'nothing is read')
    t.equal(closed.filter(line => line.startsWith('open')).length, closed.filter(line => line.startsWith('close')).length, 'no session stays')
  }
  const program = runNode(t, [fixture('multi-stdio.mjs'), `good=${url}/stream`, 'bad=http://127.0.0.1:9/'])
  t.match(await program.ended, { code: 1 })
  t.match(program.stderr(), /^MCP_ERR_CHILD_HANDSHAKE .*bad/m)
  t.equal(program.stdout(), '')
})

t.test('merged, they own one pair of streams, and end with it', async (t) => {
  const mine = streams()
  const served = await startMultiStdioServer([{ name: 'one', url: await proxy(t, 'one') }, { name: 'two', url: await proxy(t, 'two') }], { merge: true, separator: '.', ...mine })
  const host = new Host(mine.stdout, mine.stdin)
  t.match(await host.ask(INITIALIZE), { id: 1, result: { serverInfo: { name: 'mcp-proxy' } } })
  for (const name of ['one', 'two']) t.match(await host.call(`${name}.args`), ARGS(name))
  await served.close()
  await served.ended
  t.equal(mine.stdin.listenerCount('data'), 0)
})
