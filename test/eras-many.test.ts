import t from 'tap'
import { childNamed, type Child } from './helpers/eras.js'
import { startProxy } from './helpers/app.js'
import { openClient, type Over, type Sdk } from './helpers/clients.js'

const MANY = 50
const CALLS = 2

/** Whose calls and answers have to be carried over from one era to the other, or not. */
const CASES: ReadonlyArray<{ sdk: Sdk, over: readonly Over[], server: Child['name'], maxChildren: number }> = [
  // a call that waits for answers has its child to itself, and half of the places at most are for such calls: beyond, the oldest is lost
  { sdk: 'v2-pinned', over: ['stream'], server: 'legacy', maxChildren: 100 },
  { sdk: 'v1', over: ['stream', 'sse'], server: 'modern', maxChildren: 100 },
  { sdk: 'v2', over: ['stream', 'sse'], server: 'modern', maxChildren: 100 },
  { sdk: 'v2-pinned', over: ['stream'], server: 'modern', maxChildren: 100 },
]

t.setTimeout(110_000)

for (const { sdk, over, server, maxChildren } of CASES) {
  t.test(`${MANY} clients of SDK ${sdk} at once, each asked for what only it knows: a ${server} server`, async (t) => {
    const { command } = childNamed(server)
    const { app, url } = await startProxy(t, { command, maxChildren, queueTimeout: 100_000, closeGrace: 0 })
    const names = Array.from({ length: MANY }, (_, n) => `client-${n}`)
    const heard = new Map<string, string[]>(names.map(name => [name, []]))

    const clients = await Promise.all(names.map(async (name, n) => await openClient(t, over[n % over.length] ?? 'stream', url, {
      sdk,
      capabilities: { elicitation: { form: {} }, sampling: {}, roots: {} },
      answers: {
        elicit: ({ message }) => {
          heard.get(name)?.push(message)
          return { answer: `${name} elicited ${message}` }
        },
        sample: (params) => {
          const { messages: [{ content: { text } }] } = params as { messages: [{ content: { text: string } }] }
          heard.get(name)?.push(text)
          return `${name} sampled ${text}`
        },
        roots: () => [{ uri: `file:///${name}`, name }],
      },
    })))

    const wrong: unknown[] = []
    await Promise.all(clients.map(async (client, n) => {
      const name = String(names[n])
      for (let call = 0; call < CALLS; call++) {
        const say = `${name}/${call}`
        const told = await client.text('askAll', { say }, { timeout: 100_000 }).catch(String)
        const expected = JSON.stringify({ form: `${name} elicited ${say}`, model: `${name} sampled ${say}`, roots: `file:///${name}` })
        if (sorted(told) !== sorted(expected)) wrong.push({ say, told })
      }
      const others = heard.get(name)?.filter(message => !message.startsWith(`${name}/`))
      if (others?.length !== 0 || heard.get(name)?.length !== CALLS * 2) wrong.push({ name, heard: heard.get(name) })
    }))
    t.strictSame(wrong, [], 'nobody has heard or answered what was meant for somebody else')
    t.equal(new Set(clients.map(({ wire }) => wire.sent.find(({ method }) => method === 'tools/call')?.id)).size, 1, 'their calls had the same id')
    t.ok(app.mcpBridge.status().children.length <= (server === 'modern' ? 1 : maxChildren), 'a modern server is shared by all')
  })
}

/** JSON whose members stand in an order of their own: answers come in any. */
function sorted (json: string): string {
  if (!json.startsWith('{')) return json
  return JSON.stringify(Object.entries(JSON.parse(json) as object).sort())
}
