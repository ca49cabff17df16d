import { isObject } from '@mcp-proxy/protocol'
import { SettingError, settingsFromObject, type SettingName, type Settings } from '../settings.js'
import { fillIn } from './variables.js'

/** A server that is a command. */
export interface CommandEntry {
  readonly kind: 'command'
  /** Program and arguments: nothing is split. */
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string | undefined
  /** Settings that are this server's alone. */
  readonly own: Settings
}

/** A server that is elsewhere. */
export interface UrlEntry {
  readonly kind: 'url'
  readonly url: string
  readonly transport: 'auto' | 'stream' | 'sse'
  readonly headers: Readonly<Record<string, string>>
  readonly own: Settings
}

export type ServerEntry = CommandEntry | UrlEntry

/** Settings that can be different for each server: those that are about the server, and not about who may come. */
const OF_REMOTES: readonly SettingName[] = ['upstream-era', 'request-timeout', 'max-message-bytes', 'stateless']
const OF_COMMANDS: readonly SettingName[] = [
  ...OF_REMOTES, 'isolation', 'max-children', 'queue-timeout', 'warm-size', 'recycle-after', 'env-from', 'environment', 'probe-timeout', 'park-timeout', 'max-parked-calls',
  'reset-timeout-on-progress', 'max-total-timeout', 'max-pending-calls', 'ping-interval', 'ping-timeout', 'start-timeout', 'stop-timeout',
]

/** What clients' configurations call the transports. */
const TRANSPORTS: ReadonlyMap<string, UrlEntry['transport']> = new Map([
  ['sse', 'sse'], ['http', 'stream'], ['streamable-http', 'stream'], ['streamableHttp', 'stream'],
])

/** Reads one entry of `mcpServers`; members that it does not know belong to other programs. @throws SettingError, with no value in it */
export function readEntry (given: unknown, environment: NodeJS.ProcessEnv): ServerEntry {
  if (!isObject(given)) throw new SettingError('it must be an object')
  const { command, url, type, disabled } = given
  // "yes" is meant to keep it from being served
  if (disabled !== undefined && typeof disabled !== 'boolean') throw new SettingError('disabled must be true or false')
  if ((command === undefined) === (url === undefined)) throw new SettingError(command === undefined ? 'it needs a command or a url' : 'it has a command and a url: one of them')
  if (type !== undefined && typeof type !== 'string') throw new SettingError('type must be a string')
  const fill = (value: unknown, where: string): string => {
    if (typeof value !== 'string') throw new SettingError(`${where} must be a string`)
    return fillIn(value, environment, where)
  }
  const fillAll = (value: unknown, where: string): Record<string, string> => {
    if (value === undefined) return {}
    if (!isObject(value)) throw new SettingError(`${where} must be an object of strings`)
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, fill(item, `${where}.${name}`)]))
  }

  if (url !== undefined) {
    if (type === 'stdio') throw new SettingError('a server of type stdio has a command, and no url')
    return {
      kind: 'url',
      url: checkUrl(fill(url, 'url')),
      transport: type === undefined ? 'auto' : readTransport(type),
      headers: fillAll(given['headers'], 'headers'),
      own: readOwn(given['mcpProxy'], OF_REMOTES),
    }
  }
  if (type !== undefined && type !== 'stdio') throw new SettingError('a server of that type has a url, and no command')
  const { args = [], cwd } = given
  if (!Array.isArray(args)) throw new SettingError('args must be a list of strings')
  const program = fill(command, 'command')
  if (program === '') throw new SettingError('command must not be empty')
  return {
    kind: 'command',
    command: [program, ...args.map((item: unknown, index) => fill(item, `args[${index}]`))],
    env: fillAll(given['env'], 'env'),
    cwd: cwd === undefined ? undefined : fill(cwd, 'cwd'),
    own: readOwn(given['mcpProxy'], OF_COMMANDS),
  }
}

function readTransport (type: string): UrlEntry['transport'] {
  const transport = TRANSPORTS.get(type)
  if (transport === undefined) throw new SettingError(`type must be stdio, ${[...TRANSPORTS.keys()].join(', ')}, not ${JSON.stringify(type)}`)
  return transport
}

function checkUrl (text: string): string {
  // what it says may be a secret
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) throw new SettingError('url must be an http: or https: URL')
  return text
}

function readOwn (given: unknown, allowed: readonly SettingName[]): Settings {
  if (given === undefined) return {}
  if (!isObject(given)) throw new SettingError('mcpProxy must be an object')
  const names = new Set(allowed.flatMap(name => [name, name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())]))
  for (const name of Object.keys(given)) if (!names.has(name)) throw new SettingError(`mcpProxy.${name} is no setting of such a server: there are ${[...names].filter(known => !known.includes('-')).join(', ')}`)
  try {
    return settingsFromObject(given)
  } catch (error) {
    if (error instanceof SettingError) throw new SettingError(`mcpProxy: ${error.message}`)
    throw error
  }
}
