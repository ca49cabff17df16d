import type { ConnectContext } from '@mcp-proxy/protocol'
import type { ChildEnv, EnvironmentPolicy, Isolation, UpstreamEra, WarmOptions } from '@mcp-proxy/stdio-bridge'
import type { AllowedOrigins } from '@mcp-proxy/endpoint'
import type { McpProxyOptions } from './plugin.js'
import { SettingError, type Settings } from './settings.js'

const STREAM_PATHS = ['/stream', '/mcp']

/** Where the endpoints are: `--endpoint` is the path of the one that is served, of SSE where both are. */
export function endpointPaths ({ server, endpoint }: Settings): { sse: string | undefined, stream: string[] } {
  if (server !== undefined && server !== 'sse' && server !== 'stream') throw new SettingError(`--server must be sse or stream, not ${JSON.stringify(server)}`)
  if (endpoint !== undefined && !/^\/[^?#\s]*$/.test(endpoint)) throw new SettingError(`--endpoint must be a path that starts with /, not ${JSON.stringify(endpoint)}`)
  if (server === 'stream') return { sse: undefined, stream: endpoint === undefined ? STREAM_PATHS : [endpoint] }
  const sse = endpoint ?? '/sse'
  return { sse, stream: server === 'sse' ? [] : STREAM_PATHS.filter(path => path !== sse) }
}

/** The options of the plugin for settings that a person gave. @throws SettingError */
export function pluginOptions (settings: Settings, command: string | readonly string[]): McpProxyOptions {
  const { sse, stream } = endpointPaths(settings)
  return {
    command,
    shell: settings.shell,
    cwd: settings.cwd,
    environment: readEnvironment(settings.environment),
    isolation: settings.isolation as Isolation | undefined,
    upstreamEra: settings['upstream-era'] as UpstreamEra | undefined,
    probeTimeout: settings['probe-timeout'],
    parkTimeout: settings['park-timeout'],
    maxParkedCalls: settings['max-parked-calls'],
    stateKey: settings['state-key'],
    startTimeout: settings['start-timeout'],
    requestTimeout: settings['request-timeout'],
    stopTimeout: settings['stop-timeout'],
    maxMessageBytes: settings['max-message-bytes'],
    resetTimeoutOnProgress: settings['reset-timeout-on-progress'],
    maxTotalTimeout: settings['max-total-timeout'],
    maxPendingCalls: settings['max-pending-calls'],
    pingInterval: settings['ping-interval'],
    pingTimeout: settings['ping-timeout'],
    maxChildren: settings['max-children'],
    queueTimeout: settings['queue-timeout'],
    warm: readWarm(settings),
    childEnv: readChildEnv(settings),
    userId: settings['user-id'],
    sse: sse === undefined ? false : { path: sse, messagesPath: sse === '/messages' ? '/messages/post' : '/messages' },
    stream: stream.length === 0 ? false : { path: stream, stateless: settings.stateless, maxConnectionAge: settings['max-connection-age'] },
    allowedOrigins: readOrigins(settings['cors-origin']),
    allowedHosts: settings['allowed-host']?.includes('any') === true ? 'any' : settings['allowed-host'],
    bodyLimit: settings['body-limit'],
    maxSessions: settings['max-sessions'],
    idleTimeout: settings['idle-timeout'],
    keepAliveInterval: settings['keep-alive-interval'],
    closeGrace: settings['close-grace'],
  }
}

/**
 * Whoever reaches the port can run the command: beyond this machine that takes a credential, or saying so.
 * @throws SettingError
 */
export function checkExposure (host: string, settings: Settings): void {
  const local = host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)
  if (local || settings['user-id'] !== undefined || settings['allow-unauthenticated'] === true) return
  throw new SettingError(`--host ${host} lets other machines in: ask for a credential with --user-id, or say --allow-unauthenticated`)
}

/** The command was chosen by whoever started the proxy, and most servers take their keys from variables: all, unless told otherwise. */
function readEnvironment (given: string[] | undefined): EnvironmentPolicy {
  const [first = 'all', ...others] = given ?? []
  return (first === 'all' || first === 'safe') && others.length === 0 ? first : given ?? 'all'
}

function readWarm (settings: Settings): Partial<WarmOptions> {
  const { 'warm-size': size, 'recycle-after': recycleAfter } = settings
  return { ...(size !== undefined && { size }), ...(recycleAfter !== undefined && { recycleAfter }) }
}

/** `NAME=header:x-name` and `NAME=principal`: what a child is told of the client that it is started for. */
function readChildEnv ({ 'env-from': rules, isolation = 'auto' }: Settings): ChildEnv | undefined {
  if (rules === undefined) return undefined
  const readers = rules.map((rule) => {
    const [, name, source, header = ''] = /^([A-Za-z_]\w*)=(?:(principal)|header:([\w-]+))$/.exec(rule) ?? []
    if (name === undefined) throw new SettingError(`--env-from must be NAME=header:x-name or NAME=principal, not ${JSON.stringify(rule)}`)
    const read: (context: ConnectContext) => unknown = source === 'principal' ? context => context.principal : context => context.request?.headers[header.toLowerCase()]
    return [name, read] as const
  })
  if (isolation !== 'session' && isolation !== 'principal') throw new SettingError(`--env-from needs --isolation session or principal, not ${isolation}: other children serve several clients`)
  return (context) => {
    const env: Record<string, string> = {}
    for (const [name, read] of readers) {
      const value = read(context)
      if (typeof value === 'string') env[name] = value
    }
    return env
  }
}

function readOrigins (given: string[] | undefined): AllowedOrigins | undefined {
  if (given === undefined) return undefined
  if (given.includes('any') || given.includes('*')) return 'any'
  return given.length === 1 && given[0] === 'local' ? 'local' : given
}
