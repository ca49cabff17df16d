import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { lean } from './helpers/app.js'
import { BINARY, runNode } from './helpers/binary.js'
import { openStdio, type OpenClient, type Sdk } from './helpers/clients.js'
import { everything, inBothEras, steady, type Exchanged } from './helpers/published.js'

interface Teardown { teardown: (fn: () => unknown) => void }

const SERVER = everything()
const MODES = [['streamableHttp', '/mcp'], ['sse', '/sse']] as const

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

/** The published server over its own HTTP. */
async function serve (t: Teardown, mode: string, path: string): Promise<string> {
  const port = await freePort()
  const [, program = ''] = SERVER.command
  const running = runNode(t, [program, mode], { env: { ...SERVER.env, PORT: String(port) } })
  await running.wrote(/listening on port|running on port/i)
  return `http://127.0.0.1:${port}${path}`
}

async function play (client: OpenClient): Promise<Exchanged[]> {
  const transcript: Exchanged[] = []
  for (const [method, run] of SERVER.steps) {
    // an error is an answer like any other
    await run(client).catch(() => {})
    transcript.push([method, steady(withoutEnvironment(client.wire.answerTo(method)))])
  }
  transcript.push(['progress', client.wire.notified('notifications/progress').map(({ params }) => ({ ...params, progressToken: 'the client has chosen it' }))])
  await client.sdk.close()
  return transcript
}

/** The variables of the process are those of whoever has started it. */
function withoutEnvironment (answer: unknown): unknown {
  return JSON.parse(JSON.stringify(answer), (key, value: unknown) => key === 'text' && typeof value === 'string' && value.includes('TEST_VARIABLE') ? 'variables' : value)
}

const viaBinary = (t: Teardown, url: string, sdk: Sdk): Promise<OpenClient> => openStdio(t, { command: lean([process.execPath, BINARY, '--connect', url]), sdk })

for (const [mode, path] of MODES) {
  t.test(`server-everything over its own ${mode} answers through --connect as it does over stdio`, async (t) => {
    const direct = await play(await openStdio(t, { command: SERVER.command, env: SERVER.env }))
    t.notMatch(JSON.stringify(direct), /",\{\}\]/, 'every step was answered')
    const url = await serve(t, mode, path)
    for (const sdk of ['v1', 'v2'] as const) t.strictSame(await play(await viaBinary(t, url, sdk)), direct, sdk)
    t.strictSame(inBothEras(await play(await viaBinary(t, url, 'v2-auto'))), inBothEras(direct), 'v2-auto, in the other era')
  })
}
