import t from 'tap'
import { failures, requiredScenarios, runSuite, serveDirectly, serveThroughProxy, suiteNode, worse, type Findings } from './helpers/conformance.js'

/** What the suite runs, against which server. For what is older than 2025-06-18 the suite has but one scenario. */
const RUNS = [
  { title: 'the requirements of 2025-11-25', selection: ['--requirements', '2025-11-25'], server: [] },
  { title: 'all scenarios of 2025-06-18', selection: ['--suite', 'all', '--spec-version', '2025-06-18'], server: ['--revision', '2025-06-18'] },
  { title: 'all scenarios of 2025-03-26', selection: ['--suite', 'all', '--spec-version', '2025-03-26'], server: ['--revision', '2025-03-26'] },
  { title: 'the scenarios of 2025-03-26 with a server of 2024-11-05', selection: ['--suite', 'all', '--spec-version', '2025-03-26'], server: ['--revision', '2024-11-05'] },
] as const

/** Checks that do not apply to the proxy, where the suite says so itself. */
const MAY_NOT_APPLY: ReadonlyMap<string, string> = new Map([
  ['server-sse-disconnect-resume', 'a stdio server has no HTTP stream to close, and the proxy does not close one early'],
  ['server-sse-streams-functional', 'the proxy answers in JSON until something precedes the answer'],
])

// a child is started for every session, some 70 in all
t.setTimeout(110_000)

const required = await requiredScenarios('2025-11-25')
const node = await suiteNode()

for (const { title, selection, server } of RUNS) {
  await t.test(title, { skip: node === undefined && 'the suite needs Node 22' }, async (t) => {
    const run = async (url: string): Promise<Findings> => await runSuite(t, String(node), url, selection)
    const [direct, proxied] = await Promise.all([serveDirectly(t, server).then(run), serveThroughProxy(t, server).then(run)])

    t.strictSame([...proxied.keys()].sort(), [...direct.keys()].sort(), 'the same scenarios ran')
    if (selection[0] === '--requirements') t.strictSame(required.filter(scenario => !proxied.has(scenario)), [], 'every required scenario ran')

    for (const [scenario, checks] of direct) {
      t.test(scenario, async (t) => {
        const through = proxied.get(scenario) ?? []
        t.strictSame(worse(through, checks, MAY_NOT_APPLY), [], 'no check is worse through the proxy')
        if (required.includes(scenario)) t.strictSame(failures(through), [], 'no check fails through the proxy')
        t.strictSame(failures(checks), [], 'the server itself passes')
      })
    }
  })
}

t.test('the list of required scenarios was read', async (t) => {
  t.ok(required.includes('server-initialize') && required.length >= 30, `${required.length} scenarios`)
})
