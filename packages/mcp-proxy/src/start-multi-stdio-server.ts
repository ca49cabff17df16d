import { mcpError, type FastifyBaseLogger } from '@mcp-proxy/protocol'
import type { RemoteServer } from '@mcp-proxy/remote'
import { checkServer } from './check-server.js'
import { mergeServers, type MergeOptions } from './merge/merge-servers.js'
import { checkNames } from './merge/names.js'
import { remoteOf, type StartStdioServerOptions } from './start-stdio-server.js'
import { serveStdio, type StdioFace, type StdioFaceOptions } from './stdio-face/stdio-face.js'

/** One of several servers: what `startStdioServer` takes, and a name. */
export interface MultiStdioConfig extends StartStdioServerOptions {
  /** What the server is called; with `merge` names of its tools and prompts begin with it. @default the host of the URL; with `merge` it has to be given */
  readonly name?: string | undefined
}

export interface StartMultiStdioServerOptions extends Omit<StdioFaceOptions, 'connect'>, MergeOptions {
  /** All servers behind one stdin and stdout, as one server. @default false: each has its own */
  readonly merge?: boolean | undefined
  /** Milliseconds that each server may take to show that it works. @default 60_000 */
  readonly startTimeout?: number | undefined
}

/**
 * Serves several remote MCP servers over stdio. A process has one stdin and one stdout: without `merge` they belong to the
 * first configuration, and each other one brings a `stdin` and a `stdout`, which may be one socket. With `merge` all
 * servers are one: names of tools and prompts begin with that of their server. All start or none does: when one of them
 * cannot be reached or does not shake hands, the others are closed, and nothing is read.
 * @throws MCP_ERR_OPTION, MCP_ERR_STDIO_IN_USE; rejects with MCP_ERR_CHILD_HANDSHAKE
 */
export async function startMultiStdioServer (configs: readonly MultiStdioConfig[], options: StartMultiStdioServerOptions = {}): Promise<StdioFace> {
  if (!Array.isArray(configs) || configs.length === 0) throw mcpError('MCP_ERR_OPTION', 'configs', 'a list of one or more configurations', Array.isArray(configs) ? 'an empty one' : typeof configs)
  const serve = options.merge === true ? prepareMerged(configs, options) : prepareEach(configs, options)
  const remotes: RemoteServer[] = []
  const closeAll = async (): Promise<void> => { await Promise.all(remotes.map(remote => remote.close())) }
  const faces: StdioFace[] = []
  try {
    for (const config of configs) remotes.push(remoteOf({ ...config, log: config.log ?? options.log }))
    await Promise.all(remotes.map((remote, index) => checkServer(labelOf(configs, index), remote.connect, { log: options.log ?? SILENT, timeout: options.startTimeout })))
    serve(remotes, face => faces.push(face))
  } catch (error) {
    await Promise.all(faces.map(face => face.close()))
    await closeAll()
    throw error
  }
  const ended = Promise.all(faces.map(face => face.ended)).then(closeAll)
  return { close: () => Promise.all(faces.map(face => face.close())).then(() => ended), ended }
}

/** Begins to read; tells of each host that is served. */
type Serve = (remotes: readonly RemoteServer[], served: (face: StdioFace) => void) => void

/** @throws MCP_ERR_STDIO_IN_USE */
function prepareEach (configs: readonly MultiStdioConfig[], { stdin: firstIn = process.stdin, stdout: firstOut = process.stdout, log, closeGrace, maxMessageBytes }: StartMultiStdioServerOptions): Serve {
  const inputs = new Set<unknown>()
  const outputs = new Set<unknown>()
  const faces = configs.map((config, index) => {
    const { stdin = index === 0 ? firstIn : undefined, stdout = index === 0 ? firstOut : undefined } = config
    if (stdin === undefined || stdout === undefined || inputs.has(stdin) || outputs.has(stdout)) throw mcpError('MCP_ERR_STDIO_IN_USE', index)
    inputs.add(stdin)
    outputs.add(stdout)
    return { stdin, stdout, log: config.log ?? log, closeGrace: config.closeGrace ?? closeGrace, maxMessageBytes: config.maxMessageBytes ?? maxMessageBytes }
  })
  return (remotes, served) => {
    for (const [index, face] of faces.entries()) {
      const { connect } = remotes[index] as RemoteServer
      served(serveStdio({ ...face, connect }))
    }
  }
}

/** @throws MCP_ERR_OPTION */
function prepareMerged (configs: readonly MultiStdioConfig[], { stdin, stdout, log, closeGrace, maxMessageBytes, separator, patience }: StartMultiStdioServerOptions): Serve {
  const names = configs.map(({ name, stdin, stdout }, index) => {
    if (name === undefined) throw mcpError('MCP_ERR_OPTION', `configs[${index}].name`, 'given with merge', 'missing')
    if (stdin !== undefined || stdout !== undefined) throw mcpError('MCP_ERR_OPTION', `configs[${index}].stdin`, 'left out with merge: there is one for all', 'given')
    return name
  })
  // before any server is asked
  checkNames(names, separator)
  return (remotes, served) => {
    const merged = mergeServers(new Map(remotes.map(({ connect }, index) => [names[index] ?? '', connect])), { separator, patience, log })
    const face = serveStdio({ connect: merged.connect, stdin, stdout, log, closeGrace, maxMessageBytes })
    const ended = face.ended.then(() => merged.close())
    served({ close: () => face.close().then(() => ended), ended })
  }
}

function labelOf (configs: readonly MultiStdioConfig[], index: number): string {
  return configs[index]?.name ?? `number ${index}`
}

const nothing = (): void => {}
const SILENT: FastifyBaseLogger = { fatal: nothing, error: nothing, warn: nothing, info: nothing, debug: nothing, trace: nothing }
