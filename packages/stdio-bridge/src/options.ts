import { checkInteger, checkMilliseconds, mcpError, type ConnectContext, type Era } from '@mcp-proxy/protocol'
import { splitCommandLine } from './command-line.js'
import type { RestartPolicy } from './restarts.js'

/**
 * Which child process serves whom.
 *
 * - `shared`: one child for everybody. Least memory; server-to-client requests cannot be answered.
 * - `session`: a child per MCP session. Full fidelity: identity, capabilities, callbacks, state.
 * - `principal`: a child per authenticated user; whoever is not authenticated shares one.
 * - `request`: a child per call, from a warm pool: for servers that are not trusted, or leak.
 * - `auto`: shared, until a client declares sampling, elicitation or roots; that session gets a child of its own.
 */
export type Isolation = 'shared' | 'session' | 'principal' | 'request' | 'auto'

export const ISOLATIONS: readonly Isolation[] = ['auto', 'shared', 'session', 'principal', 'request']

/** Names what the clients of one child have in common; `undefined` gives a client a child of its own. */
export type IsolationKey = (context: ConnectContext) => string | undefined

/** Variables for the child of a client: credentials, say, from its headers or for its principal. */
export type ChildEnv = (context: ConnectContext) => Record<string, string>

/** Children kept ready, for calls or for clients that get a child of their own. */
export interface WarmOptions {
  /**
   * Children that wait for a call, for each kind of client; or, for clients that get a child of their own, those that wait
   * for the next of these. `0` is none. @default 2 for calls, 1 for clients
   */
  readonly size: number
  /** Calls that a child serves before it is replaced. @default 1 */
  readonly recycleAfter: number
}

/** How a server is spoken to: as a first child shows it, or as somebody knows. */
export type UpstreamEra = 'auto' | Era

export const UPSTREAM_ERAS: readonly UpstreamEra[] = ['auto', 'legacy', 'modern']

/** How much of the proxy's own environment a child inherits; names under `MCP_PROXY_` never are. */
export type EnvironmentPolicy = 'safe' | 'all' | readonly string[]

export interface StdioBridgeOptions {
  /** The server to run: a command line that is split without a shell, or program and arguments. */
  command: string | readonly string[]
  /** More arguments, appended as they are. @default [] */
  args?: readonly string[] | undefined
  /** Hand the command to the system's shell instead of splitting it. Never with text from outside. @default false */
  shell?: boolean | undefined
  /** Working directory of the child. @default the proxy's own */
  cwd?: string | undefined
  /** Variables set for the child, over what it inherits. @default {} */
  env?: Readonly<Record<string, string>> | undefined
  /** What the child inherits: a few harmless variables, all, or the named ones. @default 'safe' */
  environment?: EnvironmentPolicy | undefined
  /** Which child serves whom. @default 'auto' */
  isolation?: Isolation | IsolationKey | undefined
  /**
   * More variables for a child, from the client that it is started for. Refused with `shared` and `auto`: one client's
   * credentials would serve all.
   */
  childEnv?: ChildEnv | undefined
  /** Children at once; whoever needs one more waits. @default 100 */
  maxChildren?: number | undefined
  /** Milliseconds that a client waits for a child before it is refused with 503. @default 10_000 */
  queueTimeout?: number | undefined
  /** Milliseconds without a client after which a child that several can share ends, and one that waits for a client of its own. `0` is never. @default 300_000; never for the child that all share */
  childIdleTimeout?: number | undefined
  /** Children kept ready, for calls that get a child each and for clients that get one of their own. */
  warm?: Partial<WarmOptions> | undefined
  /**
   * Whether the server shakes hands (revisions up to 2025-11-25) or not (2026-07-28). `auto` asks its first child.
   * @default 'auto'
   */
  upstreamEra?: UpstreamEra | undefined
  /** Milliseconds that a child may take to answer that question before it is taken for one that shakes hands. @default 5_000 */
  probeTimeout?: number | undefined
  /** Milliseconds that a call waits for the input of a modern client on a server that shakes hands. @default 600_000 */
  parkTimeout?: number | undefined
  /** Calls that wait so, each on a child of its own, and never on more than half of `maxChildren`; one more ends the oldest. @default 50 */
  maxParkedCalls?: number | undefined
  /** What the state is sealed with that a modern client sends back with its input; any text. @default random bytes, made at the start */
  stateKey?: string | undefined
  /** Stands readable before such a state, where several processes have one key: tells which of them it belongs to. @default nothing does */
  stateTag?: string | undefined
  /** What the server is called in logs and errors. @default the program's name */
  name?: string | undefined
  /** Milliseconds a child may take from its start to the end of the handshake. @default 60_000 */
  startTimeout?: number | undefined
  /** Milliseconds until a call without an answer fails and is cancelled on the child. `0` is never. @default 300_000 */
  requestTimeout?: number | undefined
  /** Milliseconds that each step of stopping waits: after the end of stdin, and after SIGTERM. @default 2_000 */
  stopTimeout?: number | undefined
  /** Progress on a call starts its `requestTimeout` anew. @default false */
  resetTimeoutOnProgress?: boolean | undefined
  /** Milliseconds until a call fails whatever progress it makes. `0` is never. @default 3_600_000; never when `requestTimeout` is */
  maxTotalTimeout?: number | undefined
  /** Calls that one client may have open; one more is refused. @default 1_000 */
  maxPendingCalls?: number | undefined
  /** Milliseconds between pings that show that a child still answers. `0` is none. @default 0 */
  pingInterval?: number | undefined
  /** Milliseconds that a child may take to answer a ping before it is ended. @default 10_000 */
  pingTimeout?: number | undefined
  /** When a child that was lost is started again. */
  restart?: Partial<RestartPolicy> | undefined
  /** Bytes queued for a child that does not read before calls are refused. @default 67_108_864 */
  maxQueuedInput?: number | undefined
  /** Bytes of the largest message a child may send; a larger one fails its call alone. @default 67_108_864 */
  maxMessageBytes?: number | undefined
}

export const DEFAULT_START_TIMEOUT = 60_000
export const DEFAULT_REQUEST_TIMEOUT = 300_000
export const DEFAULT_STOP_TIMEOUT = 2_000
export const DEFAULT_MAX_MESSAGE_BYTES: number = 64 * 1024 * 1024

export const DEFAULT_MAX_QUEUED_INPUT: number = 64 * 1024 * 1024
export const DEFAULT_MAX_TOTAL_TIMEOUT = 3_600_000
export const DEFAULT_MAX_PENDING_CALLS = 1_000
export const DEFAULT_PING_TIMEOUT = 10_000
export const DEFAULT_MAX_CHILDREN = 100
export const DEFAULT_QUEUE_TIMEOUT = 10_000
export const DEFAULT_CHILD_IDLE_TIMEOUT = 300_000
export const DEFAULT_WARM: WarmOptions = { size: 2, recycleAfter: 1 }
/** One: sessions come more seldom than calls, and what waits for one costs as much memory as a session. */
export const DEFAULT_SPARES = 1
export const DEFAULT_PROBE_TIMEOUT = 5_000
export const DEFAULT_PARK_TIMEOUT = 600_000
export const DEFAULT_MAX_PARKED_CALLS = 50
export const DEFAULT_RESTART: RestartPolicy = { delay: 250, maxDelay: 10_000, maxFailures: 5, coolDown: 30_000 }

/** The options of a bridge, checked and complete. */
export interface BridgeSettings {
  readonly file: string
  readonly args: readonly string[]
  readonly shell: boolean
  readonly cwd: string | undefined
  readonly env: Readonly<Record<string, string>>
  readonly environment: EnvironmentPolicy
  readonly isolation: Isolation | IsolationKey
  readonly name: string
  readonly startTimeout: number
  readonly requestTimeout: number
  readonly stopTimeout: number
  readonly maxMessageBytes: number
  readonly maxQueuedInput: number
  readonly resetTimeoutOnProgress: boolean
  readonly maxTotalTimeout: number
  readonly maxPendingCalls: number
  readonly pingInterval: number
  readonly pingTimeout: number
  readonly restart: RestartPolicy
  readonly childEnv: ChildEnv | undefined
  readonly maxChildren: number
  readonly queueTimeout: number
  readonly childIdleTimeout: number | undefined
  readonly warm: WarmOptions
  /** Children that wait for clients which get one of their own. */
  readonly spares: number
  /** Calls that a child serves which is leased because its call may ask its client; others are not replaced. */
  readonly leaseRecycleAfter: number
  /** `undefined`: not known. */
  readonly era: Era | undefined
  readonly probeTimeout: number
  readonly parkTimeout: number
  readonly maxParkedCalls: number
  readonly stateKey: string | undefined
  readonly stateTag: string | undefined
}

/** @throws MCP_ERR_OPTION, MCP_ERR_COMMAND */
export function readOptions (options: StdioBridgeOptions): BridgeSettings {
  const { shell = false, args = [], isolation = 'auto', environment = 'safe' } = options
  const [file, ...rest] = readCommand(options.command, shell)
  if (file === undefined || file === '') throw mcpError('MCP_ERR_OPTION', 'command', 'a command line or a list of program and arguments', JSON.stringify(options.command) ?? 'missing')
  if (typeof isolation !== 'function' && !ISOLATIONS.includes(isolation)) throw mcpError('MCP_ERR_OPTION', 'isolation', `one of ${ISOLATIONS.join(', ')}, or a function`, JSON.stringify(isolation))
  if (environment !== 'safe' && environment !== 'all' && !isStringList(environment)) throw mcpError('MCP_ERR_OPTION', 'environment', '"safe", "all" or a list of names', JSON.stringify(environment))
  const { upstreamEra = 'auto', stateKey } = options
  if (!UPSTREAM_ERAS.includes(upstreamEra)) throw mcpError('MCP_ERR_OPTION', 'upstreamEra', `one of ${UPSTREAM_ERAS.join(', ')}`, JSON.stringify(upstreamEra))
  // not the value: it is a secret
  if (stateKey !== undefined && (typeof stateKey !== 'string' || stateKey.length < 16)) throw mcpError('MCP_ERR_OPTION', 'stateKey', 'a text of at least 16 characters', typeof stateKey === 'string' ? `one of ${String(stateKey).length}` : `a ${typeof stateKey}`)
  if (!isStringList(args)) throw mcpError('MCP_ERR_OPTION', 'args', 'a list of strings', JSON.stringify(args))
  if (typeof shell !== 'boolean') throw mcpError('MCP_ERR_OPTION', 'shell', 'true or false', JSON.stringify(shell))
  if (options.cwd !== undefined && typeof options.cwd !== 'string') throw mcpError('MCP_ERR_OPTION', 'cwd', 'a path', JSON.stringify(options.cwd))
  if (options.name !== undefined && typeof options.name !== 'string') throw mcpError('MCP_ERR_OPTION', 'name', 'a string', JSON.stringify(options.name))
  // not the values: they may be secrets
  if (options.env !== undefined && !isStringRecord(options.env)) throw mcpError('MCP_ERR_OPTION', 'env', 'an object of strings', describeEnv(options.env))
  if (options.childEnv !== undefined && (isolation === 'shared' || isolation === 'auto' || isolation === 'request')) {
    throw mcpError('MCP_ERR_OPTION', 'childEnv', 'used with isolation session or principal, or a function: other children serve several clients', `used with ${isolation}`)
  }
  return {
    file,
    args: [...rest, ...args],
    shell,
    cwd: options.cwd,
    env: { ...options.env },
    environment,
    isolation,
    name: options.name ?? baseName(file),
    startTimeout: checkMilliseconds('startTimeout', options.startTimeout ?? DEFAULT_START_TIMEOUT, 1),
    requestTimeout: checkMilliseconds('requestTimeout', options.requestTimeout ?? DEFAULT_REQUEST_TIMEOUT),
    stopTimeout: checkMilliseconds('stopTimeout', options.stopTimeout ?? DEFAULT_STOP_TIMEOUT, 1),
    maxMessageBytes: checkInteger('maxMessageBytes', options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES, 1024),
    maxQueuedInput: checkInteger('maxQueuedInput', options.maxQueuedInput ?? DEFAULT_MAX_QUEUED_INPUT, 1024),
    resetTimeoutOnProgress: options.resetTimeoutOnProgress ?? false,
    maxTotalTimeout: checkMilliseconds('maxTotalTimeout', options.maxTotalTimeout ?? (options.requestTimeout === 0 ? 0 : DEFAULT_MAX_TOTAL_TIMEOUT)),
    maxPendingCalls: checkInteger('maxPendingCalls', options.maxPendingCalls ?? DEFAULT_MAX_PENDING_CALLS, 1),
    pingInterval: checkMilliseconds('pingInterval', options.pingInterval ?? 0),
    pingTimeout: checkMilliseconds('pingTimeout', options.pingTimeout ?? DEFAULT_PING_TIMEOUT, 1),
    restart: readRestart(options.restart),
    childEnv: options.childEnv,
    maxChildren: checkInteger('maxChildren', options.maxChildren ?? DEFAULT_MAX_CHILDREN, 1),
    queueTimeout: checkMilliseconds('queueTimeout', options.queueTimeout ?? DEFAULT_QUEUE_TIMEOUT),
    childIdleTimeout: options.childIdleTimeout === undefined ? undefined : checkMilliseconds('childIdleTimeout', options.childIdleTimeout),
    warm: {
      size: checkInteger('warm.size', options.warm?.size ?? DEFAULT_WARM.size),
      recycleAfter: checkInteger('warm.recycleAfter', options.warm?.recycleAfter ?? DEFAULT_WARM.recycleAfter, 1),
    },
    spares: options.warm?.size ?? DEFAULT_SPARES,
    leaseRecycleAfter: options.warm?.recycleAfter ?? Infinity,
    era: upstreamEra === 'auto' ? undefined : upstreamEra,
    probeTimeout: checkMilliseconds('probeTimeout', options.probeTimeout ?? DEFAULT_PROBE_TIMEOUT, 1),
    parkTimeout: checkMilliseconds('parkTimeout', options.parkTimeout ?? DEFAULT_PARK_TIMEOUT, 1),
    maxParkedCalls: checkInteger('maxParkedCalls', options.maxParkedCalls ?? DEFAULT_MAX_PARKED_CALLS, 1),
    stateKey,
    stateTag: options.stateTag,
  }
}

function readRestart (given: Partial<RestartPolicy> = {}): RestartPolicy {
  return {
    delay: checkMilliseconds('restart.delay', given.delay ?? DEFAULT_RESTART.delay, 1),
    maxDelay: checkMilliseconds('restart.maxDelay', given.maxDelay ?? DEFAULT_RESTART.maxDelay, 1),
    maxFailures: checkInteger('restart.maxFailures', given.maxFailures ?? DEFAULT_RESTART.maxFailures, 1),
    coolDown: checkMilliseconds('restart.coolDown', given.coolDown ?? DEFAULT_RESTART.coolDown, 1),
  }
}

function readCommand (command: unknown, shell: boolean): readonly string[] {
  if (typeof command === 'string') return shell ? [command] : splitCommandLine(command)
  return isStringList(command) ? command : []
}

function isStringList (value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}

function isStringRecord (value: unknown): value is Readonly<Record<string, string>> {
  return value !== null && typeof value === 'object' && isStringList(Object.values(value)) && !Array.isArray(value)
}

function describeEnv (value: unknown): string {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return Array.isArray(value) ? 'a list' : `a ${typeof value}`
  return `one where ${Object.entries(value).find(([, item]) => typeof item !== 'string')?.[0]} is none`
}

function baseName (file: string): string {
  return file.split(/[\\/]/).at(-1)?.split(' ')[0] ?? file
}
