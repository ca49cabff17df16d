import { METHOD_NOT_FOUND, checkMilliseconds, mcpError, toRpcError } from '@mcp-proxy/protocol'
import { proxiedClient, type Downstream } from './proxied-client.js'
import { RpcError, type SdkMessage, type SdkPeer } from './sdk-peer.js'
import { readVerdict, type Verdict } from './verdict.js'

export interface ProxyServerOptions<R = unknown> {
  /** Faces the client that is served: a `Server` of the MCP SDK, v1 or v2, made with the capabilities that it shall declare. */
  server: SdkPeer
  /** Faces the server that is proxied: a `Client` of the MCP SDK, connected, made with the capabilities of the clients that are served. */
  client: SdkPeer
  /** Which families of requests are passed on: those of capabilities that are not in it are refused. @default all */
  serverCapabilities?: object | undefined
  /** Another name of `serverCapabilities`. */
  capabilities?: object | undefined
  /** Tool requests are processed only when this lets `request` in; it is asked for each. @default all are processed */
  authenticate?: ((request: R) => Verdict | Promise<Verdict>) | undefined
  /** The request that has opened the connection, as `createServer` gets it. With `authenticate` and without it nobody is let in. */
  request?: R | undefined
  /** Milliseconds until a request without an answer fails, in both directions. `0` is never. @default 300_000 */
  requestTimeout?: number | undefined
}

export const DEFAULT_PROXY_TIMEOUT = 300_000
/** Node sets no longer timer: 24 days. */
const NEVER = 2 ** 31 - 1

/** Which capability a method belongs to; others belong to none. */
const FAMILIES: ReadonlyArray<readonly [prefix: string, capability: string]> = [
  ['tools/', 'tools'], ['prompts/', 'prompts'], ['resources/', 'resources'], ['completion/', 'completions'], ['logging/', 'logging'], ['tasks/', 'tasks'],
]

/**
 * Joins a server and a client of the MCP SDK: requests, notifications, progress, cancellation and errors cross in both
 * directions, also of methods that nobody knows; results are not looked into. Call it before the server is connected; it takes over
 * the fallback handlers of both, and adds to the server's `onclose`.
 *
 * One client may have several servers in front of it, one for each session. Then callbacks, which nobody could tell the
 * owner of, are refused: they need a client for each server.
 *
 * @throws MCP_ERR_OPTION
 */
export async function proxyServer<R> ({ server, client, serverCapabilities, capabilities = serverCapabilities, authenticate, request: opening, requestTimeout = DEFAULT_PROXY_TIMEOUT }: ProxyServerOptions<R>): Promise<void> {
  const timeout = checkMilliseconds('requestTimeout', requestTimeout) || NEVER
  const upstream = proxiedClient(client)
  const downstream: Downstream = { server, timeout, open: new Set(), logLevel: undefined, used: false, uris: new Set() }
  const letIn = async (): Promise<boolean> => {
    if (authenticate === undefined) return true
    if (opening === undefined) return false
    try {
      return readVerdict(await authenticate(opening)).accepted
    } catch {
      return false
    }
  }

  // the only one of its own that would answer instead of the server behind
  server.removeRequestHandler('logging/setLevel' as never)
  server.fallbackRequestHandler = async (request: SdkMessage, extra: unknown) => {
    if (!isOffered(request.method, capabilities)) throw new RpcError(METHOD_NOT_FOUND, 'Method not found')
    if (request.method.startsWith('tools/') && !await letIn()) {
      const { code, message, data } = toRpcError(mcpError('MCP_ERR_CREDENTIALS'))
      throw new RpcError(code, message, data)
    }
    return await upstream.request(downstream, request, extra)
  }
  server.fallbackNotificationHandler = async (notification: SdkMessage) => await upstream.notify(notification)

  const { onclose } = server
  server.onclose = () => {
    upstream.delete(downstream)
    onclose?.call(server)
  }
  upstream.add(downstream)
}

function isOffered (method: string, capabilities: object | undefined): boolean {
  const family = FAMILIES.find(([prefix]) => method.startsWith(prefix))
  return capabilities === undefined || family === undefined || Object.hasOwn(capabilities, family[1])
}
