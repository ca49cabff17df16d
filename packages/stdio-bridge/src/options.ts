import { checkInteger, mcpError } from '@mcp-proxy/protocol'
import { splitCommandLine } from './command-line.js'

/**
 * Which child process serves whom.
 *
 * - `shared`: one child for everybody. Least memory; server-to-client requests cannot be answered.
 * - `session`: a child per MCP session. Full fidelity: identity, capabilities, callbacks, state.
 * - `principal`: a child per authenticated user; whoever is not authenticated shares one.
 * - `auto`: shared, until a client declares sampling, elicitation or roots; that session gets a child of its own.
 */
export type Isolation = 'shared' | 'session' | 'principal' | 'auto'

export const ISOLATIONS: readonly Isolation[] = ['shared', 'session', 'principal', 'auto']

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
  isolation?: Isolation | undefined
  /** What the server is called in logs and errors. @default the program's name */
  name?: string | undefined
  /** Milliseconds a child may take from its start to the end of the handshake. @default 60_000 */
  startTimeout?: number | undefined
  /** Milliseconds until a call without an answer fails and is cancelled on the child. `0` is never. @default 300_000 */
  requestTimeout?: number | undefined
  /** Milliseconds that each step of stopping waits: after the end of stdin, and after SIGTERM. @default 2_000 */
  stopTimeout?: number | undefined
  /** Bytes of the largest message a child may send; a larger one fails its call alone. @default 67_108_864 */
  maxMessageBytes?: number | undefined
}

export const DEFAULT_START_TIMEOUT = 60_000
export const DEFAULT_REQUEST_TIMEOUT = 300_000
export const DEFAULT_STOP_TIMEOUT = 2_000
export const DEFAULT_MAX_MESSAGE_BYTES: number = 64 * 1024 * 1024

/** The options of a bridge, checked and complete. */
export interface BridgeSettings {
  readonly file: string
  readonly args: readonly string[]
  readonly shell: boolean
  readonly cwd: string | undefined
  readonly env: Readonly<Record<string, string>>
  readonly environment: EnvironmentPolicy
  readonly isolation: Isolation
  readonly name: string
  readonly startTimeout: number
  readonly requestTimeout: number
  readonly stopTimeout: number
  readonly maxMessageBytes: number
}

/** @throws MCP_ERR_OPTION, MCP_ERR_COMMAND */
export function readOptions (options: StdioBridgeOptions): BridgeSettings {
  const { shell = false, args = [], isolation = 'auto', environment = 'safe' } = options
  const [file, ...rest] = readCommand(options.command, shell)
  if (file === undefined || file === '') throw mcpError('MCP_ERR_OPTION', 'command', 'a command line or a list of program and arguments', JSON.stringify(options.command) ?? 'missing')
  if (!ISOLATIONS.includes(isolation)) throw mcpError('MCP_ERR_OPTION', 'isolation', `one of ${ISOLATIONS.join(', ')}`, JSON.stringify(isolation))
  if (environment !== 'safe' && environment !== 'all' && !isStringList(environment)) throw mcpError('MCP_ERR_OPTION', 'environment', '"safe", "all" or a list of names', JSON.stringify(environment))
  if (!isStringList(args)) throw mcpError('MCP_ERR_OPTION', 'args', 'a list of strings', JSON.stringify(args))
  return {
    file,
    args: [...rest, ...args],
    shell,
    cwd: options.cwd,
    env: { ...options.env },
    environment,
    isolation,
    name: options.name ?? baseName(file),
    startTimeout: checkInteger('startTimeout', options.startTimeout ?? DEFAULT_START_TIMEOUT, 1),
    requestTimeout: checkInteger('requestTimeout', options.requestTimeout ?? DEFAULT_REQUEST_TIMEOUT),
    stopTimeout: checkInteger('stopTimeout', options.stopTimeout ?? DEFAULT_STOP_TIMEOUT, 1),
    maxMessageBytes: checkInteger('maxMessageBytes', options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES, 1024),
  }
}

function readCommand (command: unknown, shell: boolean): readonly string[] {
  if (typeof command === 'string') return shell ? [command] : splitCommandLine(command)
  return isStringList(command) ? command : []
}

function isStringList (value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}

function baseName (file: string): string {
  return file.split(/[\\/]/).at(-1)?.split(' ')[0] ?? file
}
