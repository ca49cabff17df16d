import t from 'tap'
import { startProxy } from './helpers/app.js'
import { OVER, SDKS, isModern, openClient, openStdio, type OpenClient } from './helpers/clients.js'
import { INHERITED, everything, filesystem, inBothEras, memory, steady, type Exchanged, type Published } from './helpers/published.js'

const servers: ReadonlyArray<readonly [name: string, make: (t: { teardown: (fn: () => unknown) => void }) => Published | Promise<Published>]> = [
  ['server-everything', everything],
  ['server-filesystem', filesystem],
  ['server-memory', memory],
]

for (const [name, make] of servers) {
  t.test(`${name} answers through the proxy as it does over stdio`, async (t) => {
    const { command, env, reset, steps } = await make(t)
    const play = async (client: OpenClient): Promise<Exchanged[]> => {
      const transcript: Exchanged[] = []
      for (const [method, run] of steps) {
        // an error is an answer like any other
        await run(client).catch(() => {})
        transcript.push([method, steady(client.wire.answerTo(method))])
      }
      transcript.push(['progress', client.wire.notified('notifications/progress').map(({ params }) => ({ ...params, progressToken: 'the client has chosen it' }))])
      await client.sdk.close()
      return transcript
    }

    await reset()
    const direct = await play(await openStdio(t, { command, env }))
    t.notMatch(JSON.stringify(direct), /",\{\}\]/, 'every step was answered')
    const { url } = await startProxy(t, { command, env, environment: INHERITED, stopTimeout: 100 })
    for (const over of OVER) {
      for (const sdk of SDKS) {
        await reset()
        const proxied = await play(await openClient(t, over, url, { sdk }))
        if (isModern(sdk, over)) t.strictSame(inBothEras(proxied), inBothEras(direct), `${sdk} over ${over}, in the other era`)
        else t.strictSame(proxied, direct, `${sdk} over ${over}`)
      }
    }
  })
}
