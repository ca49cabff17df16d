import { mkdir, mkdtemp, realpath, rm, utimes, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { OpenClient } from './clients.js'

/** What the SDK lets a server inherit over stdio; the proxy is told the same. */
export const INHERITED: readonly string[] = ['HOME', 'LOGNAME', 'PATH', 'SHELL', 'TERM', 'USER']

/** One thing a client does, named by the method whose answer counts. */
export type Step = readonly [method: string, run: (client: OpenClient) => Promise<unknown>]

/** A server from npm, and what it is asked. */
export interface Published {
  readonly command: readonly string[]
  readonly env: Record<string, string>
  /** Puts the files that it works on back to the start. */
  readonly reset: () => Promise<void>
  readonly steps: readonly Step[]
}

interface Teardown { teardown: (fn: () => unknown) => void }

export const tool = (name: string, args: Record<string, unknown> = {}): Step => ['tools/call', client => client.call(name, args)]
const LISTS: readonly Step[] = [
  ['initialize', async () => {}],
  ['tools/list', ({ sdk }) => sdk.listTools()],
  ['ping', ({ sdk }) => sdk.ping()],
]

/** Program of a package, run by this Node. */
function program (name: string): readonly string[] {
  const manifest = createRequire(import.meta.url).resolve(`@modelcontextprotocol/${name}/package.json`)
  return [process.execPath, join(dirname(manifest), 'dist/index.js')]
}

async function temporary (t: Teardown): Promise<string> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'mcp-proxy-test-')))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return directory
}

export function everything (): Published {
  const complete = (ref: { type: 'ref/prompt', name: string } | { type: 'ref/resource', uri: string }, name: string, value: string, given?: Record<string, string>): Step =>
    ['completion/complete', ({ sdk }) => sdk.complete({ ref, argument: { name, value }, ...(given !== undefined && { context: { arguments: given } }) })]
  const read = (uri: string): Step => ['resources/read', ({ sdk }) => sdk.readResource({ uri })]
  const prompt = (name: string, given?: Record<string, string>): Step => ['prompts/get', ({ sdk }) => sdk.getPrompt({ name, ...(given !== undefined && { arguments: given }) })]
  return {
    command: [...program('server-everything'), 'stdio'],
    env: { TEST_VARIABLE: 'as given' },
    reset: async () => {},
    steps: [
      ...LISTS,
      ['logging/setLevel', ({ sdk }) => sdk.setLoggingLevel('warning')],
      ['resources/list', ({ sdk }) => sdk.listResources()],
      ['resources/list', ({ sdk }) => sdk.listResources({ cursor: 'made up' })],
      ['resources/templates/list', ({ sdk }) => sdk.listResourceTemplates()],
      read('demo://resource/static/document/architecture.md'),
      read('demo://resource/dynamic/text/7'),
      read('demo://resource/dynamic/blob/8'),
      read('demo://resource/dynamic/text/none'),
      read('demo://nowhere'),
      ['resources/subscribe', ({ sdk }) => sdk.subscribeResource({ uri: 'demo://resource/dynamic/text/1' })],
      ['resources/unsubscribe', ({ sdk }) => sdk.unsubscribeResource({ uri: 'demo://resource/dynamic/text/1' })],
      ['prompts/list', ({ sdk }) => sdk.listPrompts()],
      prompt('simple-prompt'),
      prompt('args-prompt', { city: 'Łódź', state: '日本語 🎈' }),
      prompt('args-prompt', {}),
      prompt('resource-prompt', { resourceType: 'Blob', resourceId: '3' }),
      prompt('resource-prompt', { resourceType: 'Blob', resourceId: 'x' }),
      prompt('no-such-prompt'),
      complete({ type: 'ref/prompt', name: 'completable-prompt' }, 'department', 'S'),
      complete({ type: 'ref/prompt', name: 'completable-prompt' }, 'name', '', { department: 'Sales' }),
      complete({ type: 'ref/resource', uri: 'demo://resource/dynamic/text/{resourceId}' }, 'resourceId', '12'),
      complete({ type: 'ref/prompt', name: 'no-such-prompt' }, 'department', 'S'),
      tool('echo', { message: 'line\nbreak, "quotes", \u2028 and \u0000' }),
      tool('echo', { message: 7 }),
      tool('echo'),
      tool('no-such-tool'),
      tool('get-sum', { a: 0.1, b: 0.2 }),
      tool('get-env'),
      tool('get-tiny-image'),
      tool('get-annotated-message', { messageType: 'error', includeImage: true }),
      tool('get-structured-content', { location: 'Chicago' }),
      tool('get-structured-content', { location: 'Atlantis' }),
      tool('get-resource-links', { count: 4 }),
      tool('get-resource-reference', { resourceType: 'Text', resourceId: 5 }),
      ['tools/call', client => client.call('trigger-long-running-operation', { duration: 0.05, steps: 5 }, { onprogress: () => {} })],
    ],
  }
}

export async function filesystem (t: Teardown): Promise<Published> {
  const directory = await temporary(t)
  const at = (...names: string[]): string => join(directory, ...names)
  return {
    command: [...program('server-filesystem'), directory],
    env: {},
    reset: async () => {
      await rm(directory, { recursive: true, force: true })
      await mkdir(at('sub', 'deep'), { recursive: true })
      await writeFile(at('a.txt'), 'first\nsecond\nthird ☃\n')
      await writeFile(at('sub', 'b.txt'), 'x'.repeat(300_000))
      await writeFile(at('sub', 'pixel.png'), Buffer.from('iVBORw0KGgo=', 'base64'))
      for (const path of [at('a.txt'), at('sub', 'b.txt')]) await utimes(path, 1e9, 1e9)
    },
    steps: [
      ...LISTS,
      tool('list_allowed_directories'),
      tool('list_directory', { path: directory }),
      tool('list_directory_with_sizes', { path: at('sub') }),
      tool('directory_tree', { path: directory }),
      tool('get_file_info', { path: at('a.txt') }),
      tool('read_text_file', { path: at('a.txt') }),
      tool('read_text_file', { path: at('a.txt'), head: 2 }),
      tool('read_text_file', { path: at('sub', 'b.txt') }),
      tool('read_text_file', { path: at('missing.txt') }),
      tool('read_text_file', { path: '/etc/hostname' }),
      tool('read_text_file', { path: 1 }),
      tool('read_media_file', { path: at('sub', 'pixel.png') }),
      tool('read_multiple_files', { paths: [at('a.txt'), at('none')] }),
      tool('write_file', { path: at('new.txt'), content: 'new 🎈' }),
      tool('edit_file', { path: at('a.txt'), edits: [{ oldText: 'second', newText: '2nd' }] }),
      tool('edit_file', { path: at('a.txt'), edits: [{ oldText: 'not there', newText: '' }] }),
      tool('create_directory', { path: at('made', 'here') }),
      tool('move_file', { source: at('new.txt'), destination: at('made', 'moved.txt') }),
      tool('move_file', { source: at('new.txt'), destination: at('made', 'moved.txt') }),
      tool('search_files', { path: directory, pattern: '**/*.txt' }),
      tool('no_such_tool'),
    ],
  }
}

export async function memory (t: Teardown): Promise<Published> {
  const directory = await temporary(t)
  const file = join(directory, 'memory.jsonl')
  return {
    command: program('server-memory'),
    env: { MEMORY_FILE_PATH: file },
    reset: () => rm(file, { force: true }),
    steps: [
      ...LISTS,
      tool('read_graph'),
      tool('create_entities', { entities: [{ name: 'Ada', entityType: 'person', observations: ['wrote', 'programs'] }, { name: 'Engine', entityType: 'machine', observations: [] }] }),
      tool('create_relations', { relations: [{ from: 'Ada', to: 'Engine', relationType: 'programs' }] }),
      tool('add_observations', { observations: [{ entityName: 'Engine', contents: ['analytical', '⚙'] }] }),
      tool('add_observations', { observations: [{ entityName: 'Nobody', contents: ['x'] }] }),
      tool('search_nodes', { query: 'analytical' }),
      tool('open_nodes', { names: ['Ada', 'Nobody'] }),
      tool('create_entities', { entities: 'wrong' }),
      tool('delete_observations', { deletions: [{ entityName: 'Ada', observations: ['wrote'] }] }),
      tool('delete_relations', { relations: [{ from: 'Ada', to: 'Engine', relationType: 'programs' }] }),
      tool('delete_entities', { entityNames: ['Engine'] }),
      tool('read_graph'),
      tool('no_such_tool'),
      ['resources/list', ({ sdk }) => sdk.listResources()],
      ['resources/read', ({ sdk }) => sdk.readResource({ uri: 'memory://knowledge-graph' })],
    ],
  }
}

/** A method that was called, and its answer. */
export type Exchanged = readonly [method: string, answer: unknown]

/** What only clients do that shake hands. */
const OF_A_SESSION: ReadonlySet<string> = new Set(['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe'])

/** What is the same in both eras of what clients have seen: nothing of a session, and nothing that 2026-07-28 adds to results. */
export function inBothEras (transcript: readonly Exchanged[]): unknown {
  return JSON.parse(JSON.stringify(transcript.filter(([method]) => !OF_A_SESSION.has(method))), (key, value: unknown) => {
    if (['resultType', 'ttlMs', 'cacheScope', 'io.modelcontextprotocol/serverInfo'].includes(key)) return undefined
    if (key === '_meta' && Object.keys(value as object).length === 0) return undefined
    // a resource that does not exist
    return key === 'code' && value === -32002 ? -32602 : value
  })
}

/**
 * Without what differs from run to run: the time of day, also inside base64, when a file was made or looked at, random
 * ids, and the order of environment variables, which has no meaning.
 */
export function steady (answer: unknown): unknown {
  return JSON.parse(JSON.stringify(answer), (key, value: unknown) => {
    if (typeof value !== 'string') return value
    if (key === 'text' && value.includes('TEST_VARIABLE')) return steadyEnvironment(JSON.parse(value) as Record<string, string>)
    const text = key === 'blob' ? Buffer.from(value, 'base64').toString() : value
    return text
      .replace(/created at [\d:]+ [AP]M/, 'created at TIME')
      .replace(/^(created|accessed): .*$/gm, '$1: TIME')
      .replace(/[\da-f]{8}(-?[\da-f]{4}){3}-?[\da-f]{12}/g, 'RANDOM')
  }) as unknown
}

/** Sorted, and without what tap adds to the environment of each process that a test starts. */
function steadyEnvironment (environment: Record<string, string>): Array<[string, string]> {
  return Object.entries(environment).filter(([name]) => !name.startsWith('_TAPJS_') && name !== 'NODE_OPTIONS').sort()
}
