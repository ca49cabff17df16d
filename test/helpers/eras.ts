import type { CreateServer } from '@mcp-proxy/endpoint'
import type { Test } from 'tap'
import { fixture, lean, startProxy, type ProxyOptions, type Teardown } from './app.js'
import { BINARY } from './binary.js'
import { openClient, openStdio, type Answers, type Declared, type OpenClient, type Over, type Sdk } from './clients.js'

/** Which of the two ways of MCP somebody speaks: `modern` is 2026-07-28, `legacy` all before. */
export type Era = 'legacy' | 'modern'

interface Client {
  readonly sdk: Sdk
  readonly over: Over
  /** What it speaks with the proxy, which serves both over stream. */
  readonly era: Era
}

/** A server and the eras that it knows. */
export interface Child {
  readonly name: 'legacy' | 'modern' | 'dual'
  readonly command: readonly string[]
  readonly eras: readonly Era[]
}

/** A client in front of a server, with the proxy or nothing between them. */
export interface Pair {
  readonly title: string
  /** What the client speaks. */
  readonly client: Era
  readonly server: Child['name']
  /** What the server speaks. */
  readonly child: Era
  readonly proxied: boolean
  /** The server is an object of SDK v1 or v2. */
  readonly inProcess: boolean
  /** All that the client hears has been modern on its way. */
  readonly modernised?: boolean
  readonly open: (t: Teardown, options: { capabilities?: Declared, answers?: Answers }) => Promise<OpenClient>
}

export const CLIENTS: readonly Client[] = [
  { sdk: 'v1', over: 'stream', era: 'legacy' },
  { sdk: 'v1', over: 'sse', era: 'legacy' },
  { sdk: 'v2', over: 'stream', era: 'legacy' },
  { sdk: 'v2-auto', over: 'stream', era: 'modern' },
  // this transport is one of 2024-11-05
  { sdk: 'v2-auto', over: 'sse', era: 'legacy' },
  { sdk: 'v2-pinned', over: 'stream', era: 'modern' },
]

const server = (name: string, ...options: string[]): readonly string[] => lean([process.execPath, fixture(name), ...options])

export const CHILDREN: readonly Child[] = [
  { name: 'legacy', command: server('eras-legacy.mjs'), eras: ['legacy'] },
  { name: 'modern', command: server('eras-modern.mjs'), eras: ['modern'] },
  { name: 'dual', command: server('eras-modern.mjs', '--dual'), eras: ['legacy', 'modern'] },
]

export function childNamed (name: Child['name']): Child {
  const child = CHILDREN.find(child => child.name === name)
  if (child === undefined) throw new Error(`there is no server ${name}`)
  return child
}

/** Eras in which each SDK can speak with a server, the best first. */
const SPEAKS: Readonly<Record<Sdk, readonly Era[]>> = { v1: ['legacy'], v2: ['legacy'], 'v2-auto': ['modern', 'legacy'], 'v2-pinned': ['modern'] }

/** What is to be seen with a client, whatever is behind it; what depends on the eras looks at the pair. */
export type Feature = (t: Test, client: OpenClient, pair: Pair) => Promise<void>

/** Pairs that need no proxy: what the SDKs do among themselves. */
export function directPairs (child: Child): Pair[] {
  const sdks = Object.entries(SPEAKS) as Array<[Sdk, readonly Era[]]>
  return sdks.flatMap(([sdk, eras]) => {
    const era = eras.find(era => child.eras.includes(era))
    if (era === undefined) return []
    const open: Pair['open'] = (t, options) => openStdio(t, { command: child.command, sdk, ...options })
    return [{ title: `SDK ${sdk} and nothing before a ${child.name} server`, server: child.name, client: era, child: era, proxied: false, inProcess: false, open }]
  })
}

/** All clients before one proxy. */
export async function proxiedPairs (t: Teardown, child: Child, options: Omit<ProxyOptions, 'command'> = {}): Promise<Pair[]> {
  const { url } = await startProxy(t, { command: child.command, closeGrace: 0, ...options })
  // a server that knows both is asked in the newer one
  return clientsOf(url, { name: child.name, child: child.eras.at(-1) ?? 'legacy', before: `a ${child.name} server`, inProcess: false })
}

/** Servers in the process, and what they were written with. */
const IN_PROCESS: ReadonlyArray<{ sdk: string, server: Child['name'], file: string, make: string }> = [
  { sdk: 'v1', server: 'legacy', file: 'eras-legacy-server.mjs', make: 'legacyServer' },
  { sdk: 'v2', server: 'dual', file: 'eras-modern-server.mjs', make: 'modernServer' },
]

/** All clients before servers in the process of the proxy, which are shaken hands with. */
async function inProcessPairs (t: Teardown): Promise<Pair[]> {
  const pairs: Pair[] = []
  for (const { sdk: written, server, file, make } of IN_PROCESS) {
    const createServer = (await import(fixture(file)) as Record<string, CreateServer>)[make]
    const { url } = await startProxy(t, { command: undefined, createServer, closeGrace: 0 })
    pairs.push(...clientsOf(url, { name: server, child: 'legacy', before: `a server of SDK ${written} in the process`, inProcess: true }))
  }
  return pairs
}

function clientsOf (url: string, { name, child, before, inProcess }: { name: Child['name'], child: Era, before: string, inProcess: boolean }): Pair[] {
  return CLIENTS.map(({ sdk, over, era }) => ({
    title: `SDK ${sdk} over ${over} before ${before}`,
    server: name,
    client: era,
    child,
    proxied: true,
    inProcess,
    open: (t, opened) => openClient(t, over, url, { sdk, ...opened }),
  }))
}

/** What the stdio face is told of the server behind it, by what its host speaks: nothing, so that it asks, or what needs translation. */
const FACES: ReadonlyArray<{ readonly sdk: Sdk, readonly era: Era, readonly upstream: 'auto' | Era }> = [
  { sdk: 'v1', era: 'legacy', upstream: 'auto' },
  { sdk: 'v2', era: 'legacy', upstream: 'modern' },
  { sdk: 'v2-auto', era: 'modern', upstream: 'auto' },
  { sdk: 'v2-pinned', era: 'modern', upstream: 'legacy' },
]

/** Clients over stdio: before our binary, which reaches a proxy over HTTP, which has the server. */
export async function connectedPairs (t: Teardown, child: Child): Promise<Pair[]> {
  const { url } = await startProxy(t, { command: child.command, closeGrace: 0 })
  return FACES.map(({ sdk, era, upstream }) => ({
    title: `SDK ${sdk} over stdio and --connect (${upstream}) before a ${child.name} server`,
    server: child.name,
    client: era,
    child: child.eras.at(-1) ?? 'legacy',
    proxied: true,
    inProcess: false,
    modernised: upstream === 'modern',
    open: (t, opened) => openStdio(t, { command: lean([process.execPath, BINARY, '--connect', `${url}/stream`, '--upstream-era', upstream]), sdk, ...opened }),
  }))
}

/** Looks at each feature with each pair, one after the other: what others cause could be seen too. */
export async function lookAtAll (t: Test, features: ReadonlyMap<string, Feature>, options: { capabilities?: Declared, answers?: Answers } = {}): Promise<void> {
  const look = async (t: Test, pairs: Pair[]): Promise<void> => {
    for (const pair of pairs) {
      await t.test(pair.title, async (t) => {
        const client = await pair.open(t, options)
        t.equal(eraOf(client), pair.client, 'the era that the client speaks')
        for (const [name, look] of features) await t.test(name, { timeout: 60_000 }, async t => await look(t, client, pair))
      })
    }
  }
  for (const child of CHILDREN) {
    await t.test(`a ${child.name} server`, async t => await look(t, [...directPairs(child), ...await proxiedPairs(t, child), ...await connectedPairs(t, child)]))
  }
  await t.test('a server in the process', async t => await look(t, await inProcessPairs(t)))
}

/** A client that has sent `initialize` lives in the legacy era. */
function eraOf ({ wire }: OpenClient): Era {
  return wire.sent.some(({ method }) => method === 'initialize') ? 'legacy' : 'modern'
}
