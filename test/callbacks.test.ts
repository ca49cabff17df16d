import t from 'tap'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { fixture, lean, startProxy } from './helpers/app.js'

const ASKER = lean([process.execPath, fixture('asker.mjs')])

/** Clients at once, half over each transport. SDK clients count their ids from 0: all of them have the same. */
const CLIENTS = 50
const CALLS = 3

interface Told { secret: string, elicited: string, sampled: string, root: string }

/** Opens a client that answers with its own name and the secret that it was asked about. */
async function openClient (name: string, url: string): Promise<{ client: Client, seen: string[] }> {
  const client = new Client({ name: 'one of many', version: '1.0.0' }, { capabilities: { elicitation: {}, sampling: {}, roots: {} } })
  const seen: string[] = []
  client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
    seen.push(params.message)
    return { action: 'accept', content: { answer: `${name}: ${params.message}` } }
  })
  client.setRequestHandler(CreateMessageRequestSchema, async ({ params }) => {
    const [message] = params.messages
    const content = Array.isArray(message?.content) ? message.content[0] : message?.content
    const text = content?.type === 'text' ? content.text : ''
    seen.push(text)
    return { role: 'assistant', model: 'test', content: { type: 'text', text: `${name}: ${text}` } }
  })
  client.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: [{ uri: `file:///${name}`, name }] }))
  const transport = url.endsWith('/sse') ? new SSEClientTransport(new URL(url)) : new StreamableHTTPClientTransport(new URL(url))
  // the SDK's own transports do not fit its own type under exactOptionalPropertyTypes
  await client.connect(transport as Transport)
  return { client, seen }
}

const CASES = [
  { isolation: 'auto' as const },
  { isolation: 'session' as const },
  // ten children for all of them: each call has one to itself while it lasts
  { isolation: 'request' as const, maxChildren: 10, warm: { size: 4, recycleAfter: 1000 } },
]

for (const { isolation, ...options } of CASES) {
  t.test(`${CLIENTS} clients are asked by one server program at once, each for itself: isolation ${isolation}`, async (t) => {
    const { url } = await startProxy(t, { command: ASKER, isolation, queueTimeout: 100_000, closeGrace: 0, ...options })
    const names = Array.from({ length: CLIENTS }, (_, n) => `client-${n}`)
    const clients = await Promise.all(names.map(async (name, n) => await openClient(name, url + (n % 2 === 0 ? '/sse' : '/stream'))))
    const wrong: string[] = []
    await Promise.all(clients.map(async ({ client, seen }, n) => {
      const name = names[n] as string
      for (let call = 0; call < CALLS; call++) {
        const secret = `${name}/${call}`
        const progress: number[] = []
        const { content } = await client.callTool({ name: 'ask', arguments: { secret } }, undefined, { onprogress: ({ progress: n }) => progress.push(n), timeout: 100_000 })
        const told = JSON.parse((content as Array<{ text: string }>)[0]?.text ?? 'null') as Told
        const expected: Told = { secret, elicited: `${name}: elicit ${secret}`, sampled: `${name}: sample ${secret}`, root: name }
        if (JSON.stringify(told) !== JSON.stringify(expected)) wrong.push(`${secret} got ${JSON.stringify(told)}`)
        // the SDK forgets the callback when progress shares a read with the answer; that all of it crosses is shown on the wire elsewhere
        if (progress.join() !== '1,2' && progress.join() !== '1') wrong.push(`${secret} saw progress ${progress.join()}`)
      }
      if (seen.length !== CALLS * 2 || seen.some(text => !text.includes(`${name}/`))) wrong.push(`${name} was asked ${seen.join()}`)
    }))
    t.same(wrong, [])
    await Promise.all(clients.map(({ client }) => client.close()))
  })
}

t.test('calls of one client at once are told apart by the server, whatever the stream', async (t) => {
  const { url } = await startProxy(t, { command: ASKER, isolation: 'auto', closeGrace: 0 })
  for (const path of ['/sse', '/stream']) {
    const { client } = await openClient('one', url + path)
    const secrets = Array.from({ length: 10 }, (_, n) => `one/${n}`)
    const answers = await Promise.all(secrets.map(secret => client.callTool({ name: 'ask', arguments: { secret } })))
    const told = answers.map(({ content }) => JSON.parse((content as Array<{ text: string }>)[0]?.text ?? 'null') as Told)
    t.same(told.map(({ elicited }) => elicited), secrets.map(secret => `one: elicit ${secret}`), path)
    await client.close()
  }
})

t.test('a shared child that asks is refused, not answered by somebody', async (t) => {
  const { url } = await startProxy(t, { command: ASKER, isolation: 'shared' })
  const { client, seen } = await openClient('somebody', `${url}/stream`)
  const answer = await client.callTool({ name: 'ask', arguments: { secret: 'x' } }).catch((error: unknown) => String(error))
  t.match(JSON.stringify(answer), /not support/)
  t.same(seen, [])
  await client.close()
})
