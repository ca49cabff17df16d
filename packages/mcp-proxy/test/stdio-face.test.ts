import { PassThrough, Writable } from 'node:stream'
import t from 'tap'
import { Message, type ConnectContext, type Transport } from '@mcp-proxy/protocol'
import { serveStdio, startStdioServer, type StdioFace, type StdioFaceOptions } from '../dist/index.js'

/** What answers the host: an array of what was heard, and a way to say something. */
interface SetUp {
  readonly face: StdioFace
  readonly stdin: PassThrough
  readonly heard: Message[]
  readonly transport: Transport
  readonly context: ConnectContext
  readonly lines: () => string[]
  readonly closed: () => boolean
  readonly say: (json: object) => void | Promise<void>
}

function setUp (t: { teardown: (fn: () => unknown) => void }, options: Partial<StdioFaceOptions> = {}): SetUp {
  const stdin = new PassThrough()
  const chunks: Buffer[] = []
  const stdout = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(chunk)
      done()
    }
  })
  const heard: Message[] = []
  let [closed, transport, context] = [false, {} as Transport, {} as ConnectContext]
  const face = serveStdio({
    stdin,
    stdout,
    connect: (party, given) => {
      transport = party
      context = given
      party.onmessage = message => heard.push(message)
      return { close: async () => { closed = true } }
    },
    ...options,
  })
  t.teardown(() => face.close())
  const lines = (): string[] => Buffer.concat(chunks).toString().split('\n').slice(0, -1)
  return { face, stdin, heard, transport, context, lines, closed: () => closed, say: json => transport.send(Message.from({ jsonrpc: '2.0', ...json })) }
}

async function until (condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 2))
}

t.test('a line is a message, with its bytes, however it arrives', async (t) => {
  const { stdin, heard, lines, say, context } = setUp(t)
  const text = '{"id":12345678901234567890, "jsonrpc":"2.0","method":"größe","params":{"a":1.0}}'
  const bytes = Buffer.from(`\n${text}\r\n${text}\n`)
  for (const byte of bytes) stdin.write(Buffer.from([byte]))
  await until(() => heard.length === 2)
  for (const message of heard) t.equal(message.bytes.toString(), text)
  void say({ id: 1, result: { text: 'a\nb' } })
  await until(() => lines().length === 1)
  t.same(lines(), ['{"jsonrpc":"2.0","id":1,"result":{"text":"a\\nb"}}'])
  t.match(context, { principal: undefined, request: undefined })
  t.equal(context.era, undefined, 'the first message shows it')
})

t.test('what is no message is answered, and the next is read', async (t) => {
  const { stdin, heard, lines } = setUp(t, { maxMessageBytes: 100 })
  stdin.write('{"jsonrpc"\n[]\n{"jsonrpc":"2.0","id":null,"method":"x"}\n{"a":1}\n')
  stdin.write(Buffer.from([0x22, 0xff, 0x22, 0x0a]))
  stdin.write(`{"jsonrpc":"2.0","id":7,"method":"x","params":{"x":"${'y'.repeat(200)}"}}\n`)
  stdin.write('{"jsonrpc":"2.0","id":8,"method":"x"}\n')
  await until(() => heard.length === 1)
  t.same(lines().map(line => JSON.parse(line) as { id: unknown, error: { code: number } }).map(({ id, error: { code } }) => [id, code]), [[null, -32700], [null, -32600], [null, -32600], [null, -32600], [null, -32700], [7, -32600]])
})

t.test('a request that cannot be used is refused under its id; what is no request has none', async (t) => {
  const { stdin, heard, lines } = setUp(t)
  for (const line of [
    '{"jsonrpc":"2.0","id":7,"method":"x","params":[1]}',
    '{"params":"x","jsonrpc":"2.0","method":"x","id":"a\\u0062"}',
    '{"jsonrpc":"1.0","id":8,"method":"x"}',
    '{"jsonrpc":"2.0","id":{},"method":"x"}',
    '{"jsonrpc":"2.0","id":9,"result":{},"error":{}}',
    '{"jsonrpc":"2.0","id":10,"method":"x","params":{}',
  ]) stdin.write(`${line}\n`)
  stdin.write('{"jsonrpc":"2.0","id":11,"method":"x"}\n')
  await until(() => heard.length === 1)
  t.same(lines().map(line => JSON.parse(line) as { id: unknown, error: { code: number } }).map(({ id, error: { code } }) => [id, code]), [
    [7, -32600], ['ab', -32600], [8, -32600], [null, -32600],
    // under its id it would answer a request of the host
    [null, -32600],
    [null, -32700],
  ])
})

t.test('an answer of the host that is too large is refused, and not under the id of a request of the host', async (t) => {
  const { stdin, heard, lines } = setUp(t, { maxMessageBytes: 100 })
  const large = 'y'.repeat(200)
  stdin.write('{"jsonrpc":"2.0","id":7,"method":"x"}\n')
  stdin.write(`{"jsonrpc":"2.0","id":7,"result":{"x":"${large}"}}\n`)
  stdin.write(`{"result":{"x":"${large}"},"jsonrpc":"2.0","id":7}\n`)
  stdin.write(`{"jsonrpc":"2.0","method":"y","params":{"x":"${large}"},"id":8}\n`)
  await until(() => lines().length === 3)
  t.same(lines().map(line => (JSON.parse(line) as { id: unknown }).id), [null, null, 8])
  t.equal(heard.length, 1)
})

t.test('an answer that is still to come is waited for, whatever was refused under its id', async (t) => {
  const { face, stdin, heard, lines, say, closed } = setUp(t, { closeGrace: 600_000 })
  stdin.write('{"jsonrpc":"2.0","id":1,"method":"call"}\n{"jsonrpc":"2.0","id":1,"method":"call"}\n{"jsonrpc":"2.0","id":1,"method":"call","params":[]}\n')
  await until(() => heard.length === 2)
  void say({ id: 1, error: { code: -32600, message: 'in use' } })
  stdin.end()
  await new Promise(resolve => stdin.once('close', resolve))
  t.notOk(closed())
  void say({ id: 1, result: { late: true } })
  await face.ended
  t.match(lines().map(line => JSON.parse(line) as object), [{ id: 1, error: {} }, { id: 1, error: { message: 'in use' } }, { id: 1, result: { late: true } }])
})

t.test('a batch is its messages; a handshake is none of them', async (t) => {
  const { stdin, heard, lines } = setUp(t)
  stdin.write('[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"initialize"}, {"jsonrpc":"2.0","method":"b"}]\n')
  await until(() => heard.length === 2)
  t.same(heard.map(({ method }) => method), ['a', 'b'])
  t.match(JSON.parse(lines()[0] ?? ''), { id: 2, error: { data: { code: 'MCP_ERR_BATCH_INITIALIZE' } } })
})

t.test('after the end of stdin it ends when open calls have their answers; subscriptions and cancelled calls are not waited for', async (t) => {
  const { face, stdin, heard, lines, say, closed } = setUp(t, { closeGrace: 600_000 })
  for (const [id, method] of [[1, 'call'], [2, 'subscriptions/listen'], [3, 'call']]) stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method })}\n`)
  stdin.end('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}')
  await until(() => heard.length === 4)
  await new Promise(resolve => setImmediate(resolve))
  t.notOk(closed())
  void say({ id: 1, result: {} })
  await face.ended
  t.ok(closed())
  t.equal(lines().length, 1)
})

t.test('open calls get a moment, and no more', async (t) => {
  const { face, stdin, closed } = setUp(t, { closeGrace: 1 })
  stdin.end('{"jsonrpc":"2.0","id":1,"method":"call"}\n')
  await face.ended
  t.ok(closed())
})

t.test('without open calls it ends at once', async (t) => {
  const { face, stdin } = setUp(t, { closeGrace: 600_000 })
  stdin.end()
  await face.ended
})

t.test('a host that has gone ends it, and what is still said fails nothing', async (t) => {
  const stdout = new Writable({ write: (_chunk, _encoding, done) => done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })) })
  const { face, say, closed } = setUp(t, { stdout })
  void say({ method: 'x' })
  await face.ended
  t.ok(closed())
  t.doesNotThrow(() => { void say({ method: 'y' }) })
})

t.test('a host that reads slowly is not listened to, and slows whoever answers down', async (t) => {
  let release = (): void => {}
  const stdout = new Writable({ highWaterMark: 10, write: (_chunk, _encoding, done) => { release = done } })
  const { stdin, heard, say } = setUp(t, { stdout })
  const room = say({ method: 'x' })
  t.ok(room instanceof Promise)
  stdin.write('{"jsonrpc":"2.0","method":"a"}\n')
  await until(() => heard.length === 1)
  t.ok(stdin.isPaused())
  release()
  await room
  await until(() => !stdin.isPaused())
})

t.test('closed, it neither reads nor writes, and leaves the streams open', async (t) => {
  const { face, stdin, heard, lines, say } = setUp(t)
  await face.close()
  await face.close()
  stdin.write('{"jsonrpc":"2.0","method":"a"}\n')
  void say({ method: 'x' })
  await new Promise(resolve => setImmediate(resolve))
  t.same([heard.length, lines().length, stdin.destroyed], [0, 0, false])
})

t.test('options are judged at once', async (t) => {
  const streams = { stdin: new PassThrough(), stdout: new PassThrough() }
  t.throws(() => startStdioServer({ ...streams, url: 'x' }), { code: 'MCP_ERR_OPTION' })
  t.throws(() => startStdioServer({ ...streams, url: 'http://x', serverType: 'TCP' as 'SSE' }), { code: 'MCP_ERR_OPTION', message: /serverType/ })
  t.throws(() => startStdioServer({ ...streams, url: 'http://x', closeGrace: -1 }), { code: 'MCP_ERR_OPTION', message: /closeGrace/ })
  t.throws(() => startStdioServer({ ...streams, url: 'http://x', maxMessageBytes: 0 }), { code: 'MCP_ERR_OPTION', message: /maxMessageBytes/ })
})

t.test('options of the SDK’s transports mean what they mean there', async (t) => {
  const [stdin, stdout] = [new PassThrough(), new PassThrough()]
  const asked: Array<{ url: string, headers: Headers }> = []
  const face = startStdioServer({
    stdin,
    stdout,
    serverType: 'SSE',
    url: 'http://127.0.0.1/sse',
    transportOptions: {
      requestInit: { headers: [['x-key', 'k']] },
      fetch: async (url, init) => {
        asked.push({ url: String(url), headers: new Headers(init?.headers) })
        return new Response(null, { status: 503 })
      },
      authProvider: {
        redirectUrl: 'http://x',
        clientMetadata: { redirect_uris: [] },
        clientInformation: () => undefined,
        tokens: () => ({ access_token: 't', token_type: 'Bearer' }),
        saveTokens: () => {},
        redirectToAuthorization: () => {},
        saveCodeVerifier: () => {},
        codeVerifier: () => '',
      },
    },
  })
  t.teardown(() => face.close())
  stdin.write('{"jsonrpc":"2.0","id":1,"method":"initialize"}\n')
  const [line] = await Promise.race([new Promise<Buffer[]>(resolve => stdout.once('data', (chunk: Buffer) => resolve([chunk])))])
  t.match(JSON.parse(String(line)), { id: 1, error: { message: /^The MCP server 127.0.0.1 has answered with HTTP status 503$/ } })
  t.same(asked.map(({ url, headers }) => [url, headers.get('x-key'), headers.get('authorization'), headers.get('accept')]), [['http://127.0.0.1/sse', 'k', 'Bearer t', 'text/event-stream']])
})

t.test('it ends although the host has stopped reading', async (t) => {
  const stdout = new Writable({ highWaterMark: 1, write: () => {} })
  const { face, say } = setUp(t, { stdout })
  void say({ id: 1, result: {} })
  await face.close()
  await face.ended
  t.ok(stdout.writableLength > 0, 'what it has not taken is lost')
  t.notOk(stdout.destroyed)
})
