import t from 'tap'
import { startProxy } from './helpers/app.js'
import { OVER, SDKS, openClient, openStdio, type OpenClient } from './helpers/clients.js'
import { INHERITED, everything, filesystem, memory, steady, type Published, type Step } from './helpers/published.js'

/** What clients of 2026-07-28 do not ask. */
const LEGACY_METHODS: readonly string[] = ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe']
/** What that revision adds to results. */
const MODERN_MEMBERS: readonly string[] = ['resultType', 'ttlMs', 'cacheScope', 'io.modelcontextprotocol/serverInfo']

const servers: ReadonlyArray<readonly [name: string, make: (t: { teardown: (fn: () => unknown) => void }) => Published | Promise<Published>]> = [
  ['server-everything', everything],
  ['server-filesystem', filesystem],
  ['server-memory', memory],
]

for (const [name, make] of servers) {
  t.test(`${name} answers through the proxy as it does over stdio`, async (t) => {
    const { command, env, reset, steps } = await make(t)
    const play = async (client: OpenClient, steps: readonly Step[]): Promise<unknown[]> => {
      const transcript: unknown[] = []
      for (const [method, run] of steps) {
        // an error is an answer like any other
        await run(client).catch(() => {})
        transcript.push([method, steady(client.wire.answerTo(method))])
      }
      transcript.push(client.wire.notified('notifications/progress').map(({ params }) => ({ ...params, progressToken: 'the client has chosen it' })))
      await client.sdk.close()
      return transcript
    }

    await reset()
    const direct = await play(await openStdio(t, { command, env }), steps)
    t.notMatch(JSON.stringify(direct), /",\{\}\]/, 'every step was answered')
    const { url } = await startProxy(t, { command, env, environment: INHERITED, stopTimeout: 100 })
    for (const over of OVER) {
      for (const sdk of SDKS) {
        await reset()
        const client = await openClient(t, over, url, { sdk })
        if (client.wire.sent.some(({ method }) => method === 'initialize')) {
          t.strictSame(await play(client, steps), direct, `${sdk} over ${over}`)
        } else {
          const told = await play(client, steps.filter(([method]) => !LEGACY_METHODS.includes(method)))
          t.strictSame(withoutMembers(told), direct.filter(step => !isLegacy(step)), `${sdk} over ${over}, without a handshake`)
        }
      }
    }
  })
}

function isLegacy (step: unknown): boolean {
  return Array.isArray(step) && LEGACY_METHODS.includes(String(step[0]))
}

/** Answers without what only modern ones have. */
function withoutMembers (answers: unknown[]): unknown {
  return JSON.parse(JSON.stringify(answers), (key, value: unknown) => {
    if (MODERN_MEMBERS.includes(key)) return undefined
    return key === '_meta' && value !== null && typeof value === 'object' && Object.keys(value).length === 0 ? undefined : value
  }) as unknown
}
