import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js'
import t from 'tap'
import { remoteServer, type RemoteServerOptions } from 'mcp-proxy'
import { CHILD, buildProxy, lean, startProxy } from './helpers/app.js'
import { BINARY, runNode } from './helpers/binary.js'
import { openStdio } from './helpers/clients.js'

const INITIALIZE = `${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } } })}\n`

t.test('what is wrong with the command line is said on stderr, without the values of headers', async (t) => {
  const cases: Array<[args: string[], env: Record<string, string>, said: RegExp]> = [
    [['--connect', 'http://127.0.0.1/mcp', 'node', 'server.js'], {}, /--connect and a command are both given/],
    [[], {}, /no command to serve/],
    [['--connect', 'example.com'], {}, /Option url must be an http: or https: URL/],
    [['--connect', 'http://127.0.0.1', '--header', 's3cret'], {}, /--header must be "name: value"/],
    [['--connect', 'http://127.0.0.1', '--header', 'x y: s3cret'], {}, /--header "x y" is no header/],
    [['--connect', 'http://127.0.0.1'], { MCP_PROXY_HEADER: 'x: s3cret\u0001' }, /Option headers .*"x"/],
    [['--connect', 'http://127.0.0.1', '--upstream-era', 'old'], {}, /Option era/],
    [['--connect', 'http://127.0.0.1', '--port', '1'], {}, /--port is about serving over HTTP/],
  ]
  for (const [args, env, said] of cases) {
    const running = runNode(t, [BINARY, ...args], { env })
    t.same(await running.ended, { code: 2, signal: null }, args.join(' '))
    t.match(running.stderr(), said)
    t.notMatch(running.stderr(), /s3cret/)
    t.equal(running.stdout(), '')
  }
})

t.test('a server that is not there: JSON-RPC on stdout, nothing else; it ends with stdin', async (t) => {
  const { app, url } = await startProxy(t)
  await app.close()
  const running = runNode(t, [BINARY, '--connect', `${url}/mcp?key=s3cret`, '--debug', '--header', 'authorization: Bearer s3cret'])
  running.process.stdin?.end(INITIALIZE)
  t.same(await running.ended, { code: 0, signal: null })
  const lines = running.stdout().split('\n')
  t.equal(lines.length, 2)
  t.match(JSON.parse(lines[0] ?? ''), { id: 1, error: { code: -32000, message: `The MCP server ${new URL(url).host} cannot be reached: ECONNREFUSED`, data: { code: 'MCP_ERR_REMOTE_UNREACHABLE' } } })
  t.notMatch(running.stdout() + running.stderr(), /s3cret/)
})

t.test('a signal ends it, with the session on the server', async (t) => {
  const closed: string[] = []
  const { url } = await startProxy(t, { onSessionClose: ({ id }) => { closed.push(id) } })
  const running = runNode(t, [BINARY, '--connect', `${url}/stream`])
  running.process.stdin?.write(INITIALIZE)
  await running.wrote(/"serverInfo"/)
  running.process.kill('SIGTERM')
  t.same(await running.ended, { code: 0, signal: null })
  t.equal(closed.length, 1)
})

t.test('headers of flags and of the variable arrive', async (t) => {
  const { url } = await startProxy(t, { userId: 'ada' })
  const command = lean([process.execPath, BINARY, '--connect', `${url}/stream`])
  await t.rejects(openStdio(t, { command }))
  t.ok(await (await openStdio(t, { command: [...command, '--header', 'X-User-Id: ada'] })).sdk.listTools())
  t.ok(await (await openStdio(t, { command: [process.execPath, ...command.slice(-3)], env: { MCP_PROXY_HEADER: 'x-other: 1, 2\nx-user-id: ada' } })).sdk.listTools())
})

t.test('a server that was replaced by another: the host notices nothing but that lists may have changed', async (t) => {
  const first = await startProxy(t, { command: lean(CHILD), closeGrace: 0, upstreamEra: 'legacy' })
  const client = await openStdio(t, { command: lean([process.execPath, BINARY, '--connect', `${first.url}/stream`]) })
  const before = await client.sdk.listTools()
  await first.app.close()
  await t.rejects(client.sdk.listTools(), /cannot be reached/)
  const second = await buildProxy(t, { command: lean(CHILD), upstreamEra: 'legacy' })
  await second.listen({ port: Number(new URL(first.url).port), host: '127.0.0.1' })
  t.strictSame(await client.sdk.listTools(), before)
  await client.wire.until(({ method }) => method === 'notifications/tools/list_changed')
})

t.test('a provider of the other SDK fits too', async (t) => {
  const options = (authProvider: OAuthClientProvider): RemoteServerOptions => ({ url: 'http://127.0.0.1', authProvider })
  const provider: OAuthClientProvider = {
    redirectUrl: 'http://127.0.0.1',
    clientMetadata: { redirect_uris: [] },
    clientInformation: () => undefined,
    tokens: () => undefined,
    saveTokens: () => {},
    redirectToAuthorization: () => {},
    saveCodeVerifier: () => {},
    codeVerifier: () => '',
  }
  await t.resolves(remoteServer(options(provider)).close())
})
