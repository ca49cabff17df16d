import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { startProxy } from './helpers/app.js'
import { LEGACY_SDKS, OVER, openClient, openStdio, type Answers, type Declared, type OpenClient } from './helpers/clients.js'
import { INHERITED, everything, filesystem, steady, tool, type Step } from './helpers/published.js'

const capabilities: Declared = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } }

t.test('server-everything asks clients of the proxy as it asks over stdio, and gets their answers', async (t) => {
  const { command, env } = everything()
  const steps: readonly Step[] = [
    ['initialize', async () => {}],
    ['tools/list', ({ sdk }) => sdk.listTools()],
    tool('get-roots-list'),
    tool('trigger-sampling-request', { prompt: 'hello 日本', maxTokens: 9 }),
    tool('trigger-elicitation-request'),
    tool('trigger-url-elicitation', { url: 'https://example.com/x', elicitationId: 'chosen' }),
    tool('trigger-url-elicitation', { url: 'https://example.com/y', errorPath: true }),
    tool('gzip-file-as-resource', { name: 'a.gz', data: 'data:text/plain,hello', outputType: 'resourceLink' }),
    ['resources/read', ({ sdk }) => sdk.readResource({ uri: 'demo://resource/session/a.gz' })],
    ['resources/list', ({ sdk }) => sdk.listResources()],
  ]
  const play = async (open: (answers: Answers) => Promise<OpenClient>): Promise<unknown[]> => {
    const client = await open({
      sample: params => JSON.stringify(params),
      elicit: ({ message }) => message.includes('link') ? {} : { name: 'Ada', integer: 7 },
      roots: () => [{ uri: 'file:///tmp/one', name: 'one' }],
    })
    const transcript: unknown[] = []
    for (const [method, run] of steps) {
      await run(client).catch(() => {})
      transcript.push([method, steady(client.wire.answerTo(method))])
    }
    // the server asks for roots once more by a timer, which may come sooner or later than the tool that does
    transcript.push(client.wire.asked.filter(({ method }) => method !== 'roots/list').map(({ method, params }) => [method, params]))
    t.ok(client.wire.asked.some(({ method }) => method === 'roots/list'))
    await client.sdk.close()
    return transcript
  }

  const direct = await play(answers => openStdio(t, { command, env, capabilities, answers }))
  t.notMatch(JSON.stringify(direct), /",\{\}\]/, 'every step was answered')
  t.match(JSON.stringify(direct), /-32042/)
  const { url } = await startProxy(t, { command, env, environment: INHERITED, stopTimeout: 100 })
  for (const over of OVER) {
    for (const sdk of LEGACY_SDKS) {
      const proxied = await play(answers => openClient(t, over, url, { sdk, capabilities, answers }))
      t.strictSame(proxied, direct, `${sdk} over ${over}`)
    }
  }
})

t.test('a task of server-everything runs through the proxy, and its question finds the client', async (t) => {
  const { command, env } = everything()
  const { url } = await startProxy(t, { command, env, stopTimeout: 100 })
  const options: { capabilities: Declared, answers: Answers } = { capabilities: { elicitation: { form: {} } }, answers: { elicit: () => ({ interpretation: 'technical' }) } }
  const play = async (client: OpenClient): Promise<unknown> => {
    const { task } = await client.request('tools/call', { name: 'simulate-research-query', arguments: { topic: 'python', ambiguous: true }, task: { ttl: 60_000 } }) as { task: { taskId: string, status: string } }
    // the server asks on the way of this answer, which is long in coming
    const result = await client.request('tasks/result', { taskId: task.taskId })
    const { tasks } = await client.request('tasks/list', {}) as { tasks: Array<{ taskId: string, status: string }> }
    t.ok(tasks.every(({ taskId }) => taskId === task.taskId), 'tasks of others are not seen')
    return steady([task.status, result, tasks.map(({ status }) => status), client.wire.asked.map(({ method, params }) => [method, params])])
  }
  const [direct, ...proxied] = await Promise.all([
    openStdio(t, { command, env, ...options }),
    ...OVER.flatMap(over => (['v1', 'v2'] as const).map(sdk => openClient(t, over, url, { sdk, ...options }))),
  ].map(async client => await play(await client)))
  t.match(JSON.stringify(direct), /python \(technical\)/)
  t.strictSame(proxied, proxied.map(() => direct))
})

t.test('server-filesystem works on the roots of each client', async (t) => {
  const { command, env, reset } = await filesystem(t)
  const directory = command.at(-1) as string
  await reset()
  const { url } = await startProxy(t, { command, env, stopTimeout: 100 })
  for (const over of OVER) {
    for (const sdk of LEGACY_SDKS) {
      const allowed = async (...names: string[]): Promise<void> => {
        const path = join(directory, ...names)
        let root = path
        const client = await openClient(t, over, url, { sdk, capabilities: { roots: { listChanged: true } }, answers: { roots: () => [{ uri: pathToFileURL(root).href, name: 'root' }] } })
        await client.wire.until(({ method }) => method === 'roots/list')
        // the server looks at the directory before it takes the answer for granted
        const settle = async (): Promise<void> => {
          const wanted = `Allowed directories:\n${root}`
          while (await client.text('list_allowed_directories') !== wanted);
        }
        await settle()
        root = directory
        await client.sdk.sendRootsListChanged()
        await settle()
      }
      await Promise.all([allowed('sub'), allowed('sub', 'deep')])
      t.pass(`${sdk} over ${over}`)
    }
  }
})

t.test('server-everything offers a modern client the tools for what it can be asked', async (t) => {
  const { command, env } = everything()
  const offered = async (client: OpenClient): Promise<string[]> => (await client.sdk.listTools() as { tools: Array<{ name: string }> }).tools.map(({ name }) => name).sort()
  const { url } = await startProxy(t, { command, env, stopTimeout: 100 })
  for (const declared of [capabilities, { sampling: {} }, {}]) {
    const direct = await offered(await openStdio(t, { command, env, capabilities: declared }))
    t.equal(direct.includes('trigger-sampling-request'), 'sampling' in declared)
    t.strictSame(await offered(await openClient(t, 'stream', url, { sdk: 'v2-pinned', capabilities: declared })), direct, Object.keys(declared).join())
  }
})
