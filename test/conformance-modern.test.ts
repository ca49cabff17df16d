import t from 'tap'
import { failures, requiredScenarios, runSuite, serveDirectly, serveThroughProxy, suiteNode, worse, type Findings } from './helpers/conformance.js'

const REVISION = '2026-07-28'
/** What is required and what is not yet, but no extensions: the servers have none. */
const SELECTION = ['--suite', 'all', '--spec-version', REVISION] as const

/** Checks that no proxy can pass for a server of the legacy era, as `scenario check`, and why. */
const NOT_BY_NATURE: ReadonlyMap<string, string> = new Map([
  ['input-required-result-basic-elicitation sep-2322-elicitation-incomplete', 'wants the key user_name, and requests of a legacy server have no keys'],
  ['input-required-result-ignore-extra-params sep-2322-ignore-unexpected-params', 'answers a question under a key that a legacy server never gave, without having been asked'],
])

t.setTimeout(60_000)

const required = await requiredScenarios(REVISION)
const node = await suiteNode()
const skip = node === undefined && 'the suite needs Node 22'

t.test('the requirements were read', async (t) => {
  t.ok(required.includes('server-stateless') && required.length === 37, `${required.length} scenarios`)
})

t.test('a modern server, directly and through the proxy', { skip }, async (t) => {
  const [direct, proxied] = await Promise.all([
    serveDirectly(t, [], 'modern-server.mjs').then(run),
    serveThroughProxy(t, [], 'modern-server.mjs').then(run),
  ])

  t.test('directly', async (t) => {
    t.strictSame(required.filter(scenario => !direct.has(scenario)), [], 'every required scenario ran')
    t.strictSame([...direct].flatMap(([scenario, checks]) => failures(checks, ['FAILURE', 'WARNING']).map(said => `${scenario}: ${said}`)), [], 'the server itself passes')
  })

  t.test('through the proxy', async (t) => {
    t.strictSame([...proxied.keys()].sort(), [...direct.keys()].sort(), 'the same scenarios ran')
    for (const [scenario, checks] of direct) {
      t.test(scenario, async (t) => {
        const through = proxied.get(scenario) ?? []
        t.strictSame(worse(through, checks), [], 'no check is worse')
        t.strictSame(failures(through), [], 'no check fails')
      })
    }
  })
})

t.test('a legacy server through the proxy', { skip }, async (t) => {
  const url = await serveThroughProxy(t, [])
  await warmUp(url)
  const findings = await run(url)
  t.strictSame(required.filter(scenario => !findings.has(scenario)), [], 'every required scenario ran')

  const unmet = new Set<string>()
  for (const [scenario, checks] of findings) {
    const wrong = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING')
    const [known, unknown] = [wrong.filter(({ id }) => NOT_BY_NATURE.has(`${scenario} ${id}`)), wrong.filter(({ id }) => !NOT_BY_NATURE.has(`${scenario} ${id}`))]
    for (const { id } of known) unmet.add(`${scenario} ${id}`)
    t.test(scenario, async t => t.strictSame(failures(unknown, ['FAILURE', 'WARNING']), [], 'no check fails that could pass'))
  }
  t.strictSame([...NOT_BY_NATURE.keys()].filter(check => !unmet.has(check)), [], 'what is said to be impossible is')
})

/** One scenario waits a single second for a server that asks: on a busy machine a child may take longer to start, so some are started before. */
async function warmUp (url: string): Promise<void> {
  // children are kept ready for a kind of client that has come twice
  for (let n = 0; n < 2; n++) await askOnce(url)
}

async function askOnce (url: string): Promise<void> {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': REVISION,
    'io.modelcontextprotocol/clientInfo': { name: 'conformance-client', version: '1.0.0' },
    'io.modelcontextprotocol/clientCapabilities': { elicitation: {} },
  }
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-protocol-version': REVISION, 'mcp-method': 'tools/call', 'mcp-name': 'test_streaming_elicitation' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 'warm', method: 'tools/call', params: { name: 'test_streaming_elicitation', arguments: {}, _meta: meta } }),
  })
  if (!answer.ok) throw new Error(`the server does not answer: ${await answer.text()}`)
  await answer.text()
}

async function run (url: string): Promise<Findings> {
  return await runSuite(t, String(node), url, SELECTION)
}
