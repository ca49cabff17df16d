/** The settings of the proxy: one table for the flags of the binary, `MCP_PROXY_*` variables and the app for fastify-cli. */

type Kind = 'string' | 'list' | 'integer' | 'boolean'

/** `value` names the flag's value in the help, `default` says what leaving the setting out means. */
export const SETTINGS = {
  port: { kind: 'integer', help: 'port to listen on; 0 takes any free one', default: '8080', short: 'p', value: 'PORT' },
  host: { kind: 'string', help: 'address to listen on', default: '127.0.0.1', value: 'ADDRESS' },
  server: { kind: 'string', help: 'serve only this transport: sse or stream', default: 'both', value: 'KIND' },
  endpoint: { kind: 'string', help: 'path of the endpoint; of SSE where both are served', default: '/sse, /stream', value: 'PATH' },
  'user-id': { kind: 'list', help: 'ask clients for this x-user-id; may be repeated', value: 'ID' },
  config: { kind: 'string', help: 'serve all mcpServers of this file, each at /<name>/mcp and /<name>/sse, instead of a command', value: 'FILE' },
  workers: { kind: 'integer', help: 'processes that share the work, each with children of its own; limits are for each', default: '1', value: 'N' },
  isolation: { kind: 'string', help: 'who shares a child: auto, shared, session, principal, request', default: 'auto', value: 'HOW' },
  'upstream-era': { kind: 'string', help: 'whether the command shakes hands: auto, legacy (it does), modern (2026-07-28)', default: 'auto', value: 'ERA' },
  'probe-timeout': { kind: 'integer', help: 'milliseconds it may take to answer whether it does', default: '5000', value: 'MS' },
  'park-timeout': { kind: 'integer', help: 'milliseconds that a call waits for the input of a client of 2026-07-28', default: '600000', value: 'MS' },
  'max-parked-calls': { kind: 'integer', help: 'calls that wait so; one more ends the oldest', default: '50', value: 'N' },
  'state-key': { kind: 'string', help: 'secret that seals what such a client sends back; better as MCP_PROXY_STATE_KEY', default: 'random', value: 'TEXT' },
  stateless: { kind: 'boolean', help: 'serve every stream request by itself, without sessions' },
  'max-children': { kind: 'integer', help: 'child processes at once', default: '100', value: 'N' },
  'queue-timeout': { kind: 'integer', help: 'milliseconds that a client waits for a child', default: '10000', value: 'MS' },
  'warm-size': { kind: 'integer', help: 'children kept ready for calls or sessions that get one of their own; 0 is none', default: '2, for sessions 1', value: 'N' },
  'recycle-after': { kind: 'integer', help: 'calls that one for calls serves before it is replaced', default: '1', value: 'N' },
  'env-from': { kind: 'list', help: 'variable of the child from its client: NAME=header:x-name or NAME=principal; may be repeated', value: 'RULE' },
  'exit-with-parent': { kind: 'boolean', help: 'stop when stdin ends or the parent process is gone' },
  shell: { kind: 'boolean', help: 'run the command in a shell' },
  cwd: { kind: 'string', help: 'working directory of the command', value: 'DIR' },
  environment: { kind: 'list', help: 'what the command inherits: all, safe, or the names of variables', default: 'all', value: 'WHAT' },
  'cors-origin': { kind: 'list', help: 'web origin that may call, or any, or local; may be repeated', default: 'local, with --user-id any', value: 'ORIGIN' },
  'allowed-host': { kind: 'list', help: 'Host name to serve on a loopback address, or any; may be repeated', default: 'localhost', value: 'NAME' },
  'allow-unauthenticated': { kind: 'boolean', help: 'listen beyond this machine without --user-id' },
  'request-timeout': { kind: 'integer', help: 'milliseconds until a call without an answer fails; 0 is never', default: '300000', value: 'MS' },
  'reset-timeout-on-progress': { kind: 'boolean', help: 'progress on a call starts its time anew' },
  'max-total-timeout': { kind: 'integer', help: 'milliseconds until a call fails whatever progress it makes', default: '3600000', value: 'MS' },
  'max-pending-calls': { kind: 'integer', help: 'calls that one client may have open', default: '1000', value: 'N' },
  'ping-interval': { kind: 'integer', help: 'milliseconds between pings to the command; 0 is none', default: '0', value: 'MS' },
  'ping-timeout': { kind: 'integer', help: 'milliseconds it may take to answer one', default: '10000', value: 'MS' },
  'start-timeout': { kind: 'integer', help: 'milliseconds the command may take to start', default: '60000', value: 'MS' },
  'stop-timeout': { kind: 'integer', help: 'milliseconds that each step of stopping the command waits', default: '2000', value: 'MS' },
  'close-grace': { kind: 'integer', help: 'milliseconds that open calls get when the proxy stops', default: '5000', value: 'MS' },
  'max-connection-age': { kind: 'integer', help: 'milliseconds until a stream of 2025-11-25 is reopened by its client; 0 is never', default: '0', value: 'MS' },
  'idle-timeout': { kind: 'integer', help: 'milliseconds until an idle session ends; 0 is never', default: '1800000', value: 'MS' },
  'keep-alive-interval': { kind: 'integer', help: 'milliseconds between keep-alive comments; 0 is none', default: '15000', value: 'MS' },
  'max-sessions': { kind: 'integer', help: 'sessions at once', default: '10000', value: 'N' },
  'body-limit': { kind: 'integer', help: 'bytes of the largest request', default: '10485760', value: 'BYTES' },
  'max-message-bytes': { kind: 'integer', help: 'bytes of the largest message of the command', default: '67108864', value: 'BYTES' },
  connect: { kind: 'string', help: 'serve the MCP server at this URL over stdio, instead of a command over HTTP', value: 'URL' },
  header: { kind: 'list', help: 'with --connect: header to send, as "name: value"; may be repeated, better as MCP_PROXY_HEADER', value: 'HEADER' },
  debug: { kind: 'boolean', help: 'log requests and details' },
} as const

export type SettingName = keyof typeof SETTINGS

type ValueOf<K extends Kind> = K extends 'integer' ? number : K extends 'boolean' ? boolean : K extends 'list' ? string[] : string

/** Values of settings that were given; what was left out has its default where it is used. */
export type Settings = { -readonly [Name in SettingName]?: ValueOf<(typeof SETTINGS)[Name]['kind']> }

/** What is wrong with a setting, in words for the person who gave it. */
export class SettingError extends Error {
  override readonly name = 'SettingError'
}

/** Whole numbers of which not every one can be meant. */
const BOUNDS: ReadonlyMap<SettingName, readonly [min: number, max: number]> = new Map([['port', [0, 65_535]], ['workers', [1, 256]]])

const ENV_PREFIX = 'MCP_PROXY_'

/** Settings from `MCP_PROXY_*` variables. @throws SettingError */
export function settingsFromEnvironment (environment: NodeJS.ProcessEnv): Settings {
  const settings: Settings = {}
  for (const name of settingNames()) {
    const variable = ENV_PREFIX + name.toUpperCase().replaceAll('-', '_')
    const value = environment[variable]
    // an empty variable is one that is not set; but a credential that came out empty must not let everybody in
    if (value === '' && name === 'user-id') throw new SettingError('MCP_PROXY_USER_ID is empty: set it, or do not pass it')
    if (value !== undefined && value !== '') assign(settings, name, SETTINGS[name].kind === 'list' ? splitList(name, value) : value, variable)
  }
  return settings
}

/** Values of headers have commas of their own: there is one on each line. */
function splitList (name: SettingName, value: string): string[] {
  return name === 'header' ? value.split(/\r?\n/).filter(line => line.trim() !== '') : value.split(',')
}

/**
 * Settings from an object whose names may be in camel case and whose values may be strings, as fastify-cli passes them.
 * Names it does not know are somebody else's. @throws SettingError
 */
export function settingsFromObject (given: Readonly<Record<string, unknown>>): Settings {
  const settings: Settings = {}
  for (const name of settingNames()) {
    const value = given[name] ?? given[name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())]
    if (value !== undefined) assign(settings, name, value)
  }
  return settings
}

/** Sets one value after checking it; `label` is what an error calls it. @throws SettingError */
export function assign (settings: Settings, name: SettingName, value: unknown, label: string = `--${name}`): void {
  Object.assign(settings, { [name]: read(name, value, label) })
}

export function settingNames (): SettingName[] {
  return Object.keys(SETTINGS) as SettingName[]
}

function read (name: SettingName, value: unknown, label: string): unknown {
  switch (SETTINGS[name].kind) {
    case 'integer': {
      const number = typeof value === 'string' && /^\d+$/.test(value.trim()) ? Number(value) : value
      const [min, max] = BOUNDS.get(name) ?? [0, Number.MAX_SAFE_INTEGER]
      if (Number.isSafeInteger(number) && (number as number) >= min && (number as number) <= max) return number
      throw new SettingError(`${label} must be a whole number${min > 0 ? ` from ${min}` : ''}${max < Number.MAX_SAFE_INTEGER ? ` up to ${max}` : ''}, not ${JSON.stringify(value)}`)
    }
    case 'boolean':
      if (value === true || value === 'true' || value === '1' || value === '') return true
      if (value === false || value === 'false' || value === '0') return false
      throw new SettingError(`${label} must be true or false, not ${JSON.stringify(value)}`)
    case 'list': {
      const list = Array.isArray(value) ? value : [value]
      if (list.every(item => typeof item === 'string' && item !== '')) return list.map(item => String(item).trim())
      throw new SettingError(`${label} must not be empty`)
    }
    case 'string':
      if (typeof value === 'string' && value !== '') return value
      throw new SettingError(`${label} must not be empty`)
  }
}
