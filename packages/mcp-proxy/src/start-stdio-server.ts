import { mcpError, type FastifyBaseLogger } from '@mcp-proxy/protocol'
import { remoteServer, type ReconnectOptions, type RemoteServer, type RemoteServerOptions } from '@mcp-proxy/remote'
import { serveStdio, type StdioFace, type StdioFaceOptions } from './stdio-face/stdio-face.js'

/** How the remote server is reached. */
export const ServerType = { HTTPStream: 'HTTPStream', SSE: 'SSE' } as const
// eslint-disable-next-line @typescript-eslint/no-redeclare -- a value and a type of one name, as an enum is
export type ServerType = typeof ServerType[keyof typeof ServerType]

/** What the client transports of the MCP SDKs take, as far as it is of use here. */
export interface RemoteTransportOptions {
  /** Only its `headers` are looked at. */
  readonly requestInit?: { readonly headers?: ConstructorParameters<typeof Headers>[0] } | undefined
  readonly fetch?: ((url: string | URL, init?: RequestInit) => Promise<Response>) | undefined
  readonly authProvider?: RemoteServerOptions['authProvider']
  readonly reconnectionOptions?: {
    readonly initialReconnectionDelay?: number | undefined
    readonly maxReconnectionDelay?: number | undefined
    readonly maxRetries?: number | undefined
  } | undefined
}

export interface StartStdioServerOptions extends Omit<RemoteServerOptions, 'transport' | 'log' | 'reconnect'>, Pick<StdioFaceOptions, 'stdin' | 'stdout' | 'closeGrace'> {
  /** @default found out: Streamable HTTP, else HTTP+SSE */
  readonly serverType?: ServerType | undefined
  /** Options as for a client transport of the MCP SDKs; those beside them here win. */
  readonly transportOptions?: RemoteTransportOptions | undefined
  readonly reconnect?: ReconnectOptions | undefined
  /** Must not write to stdout. @default nothing is logged */
  readonly log?: FastifyBaseLogger | undefined
}

/**
 * Serves a remote MCP server over stdio: what a desktop client starts as its own. Each side may speak any revision.
 * @throws MCP_ERR_OPTION
 */
export function startStdioServer (options: StartStdioServerOptions): StdioFace {
  const { stdin, stdout, closeGrace, log, maxMessageBytes } = options
  const remote = remoteOf(options)
  const face = serveStdio({ connect: remote.connect, stdin, stdout, closeGrace, log, maxMessageBytes })
  const ended = face.ended.then(() => remote.close())
  return { close: () => face.close().then(() => ended), ended }
}

/** The server that such options are about, which nobody is joined to yet. @throws MCP_ERR_OPTION */
export function remoteOf (options: StartStdioServerOptions): RemoteServer {
  const { serverType, transportOptions = {}, stdin: _stdin, stdout: _stdout, closeGrace: _closeGrace, ...given } = options
  const { requestInit, fetch, authProvider, reconnectionOptions } = transportOptions
  return remoteServer({
    ...given,
    transport: transportOf(serverType),
    headers: given.headers ?? Object.fromEntries(new Headers(requestInit?.headers)),
    authProvider: given.authProvider ?? authProvider,
    fetch: given.fetch ?? fetch as typeof globalThis.fetch | undefined,
    reconnect: given.reconnect ?? {
      delay: reconnectionOptions?.initialReconnectionDelay,
      maxDelay: reconnectionOptions?.maxReconnectionDelay,
      maxRetries: reconnectionOptions?.maxRetries,
    },
  })
}

function transportOf (type: unknown): 'auto' | 'stream' | 'sse' {
  if (type === undefined) return 'auto'
  if (type === ServerType.HTTPStream) return 'stream'
  if (type === ServerType.SSE) return 'sse'
  throw mcpError('MCP_ERR_OPTION', 'serverType', 'ServerType.HTTPStream or ServerType.SSE', JSON.stringify(type) ?? typeof type)
}
