import { randomUUID } from 'node:crypto'
import { checkInteger, checkMilliseconds, mcpError, type Connect } from '@mcp-proxy/protocol'
import type { RemoteServerOptions } from '@mcp-proxy/remote'
import type { StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import type { FastifyError, FastifyReply, FastifyRequest, HookHandlerDoneFunction, RouteOptions } from 'fastify'
import type { CreateServerForRequest } from './in-process.js'
import { principalOfRequest, type PrincipalOf } from './principal.js'

/** What the session hooks are told. */
export interface SessionInfo {
  readonly id: string
  readonly transport: 'sse' | 'stream'
  readonly principal: string | undefined
}

/**
 * Which web origins may call: `'local'` is http(s)://localhost and loopback addresses on any port, `'any'` is all,
 * otherwise the listed ones.
 */
export type AllowedOrigins = 'local' | 'any' | ReadonlyArray<string | RegExp>

/**
 * A hook of Fastify's that runs on the endpoint's routes, asynchronous or with `done`. One signature for both, where
 * Fastify has two, so that TypeScript knows the parameters of a function written in place.
 */
export type RouteHook = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void | Promise<unknown>

/** Options of every MCP endpoint. With `command` the endpoint runs a server of its own and takes the bridge's options too. */
export interface EndpointOptions extends Partial<StdioBridgeOptions> {
  /** What answers, instead of a command or of the `mcpBridge` of the instance. */
  connect?: Connect | undefined
  /** Makes a server in this process for each client, instead of a command. */
  createServer?: CreateServerForRequest | undefined
  /** An MCP server elsewhere, instead of a command. Of the bridge's options it takes `requestTimeout`, `maxMessageBytes` and `upstreamEra`. */
  url?: RemoteServerOptions['url'] | undefined
  /** With `url`: headers for each request to it; a function is told who asks, `context.request` included. @default none */
  headers?: RemoteServerOptions['headers']
  /** With `url`: tokens for it, as a provider of the MCP SDK. @default none */
  authProvider?: RemoteServerOptions['authProvider']
  /** Origins that browsers may call from; drives CORS and the `Origin` guard. @default 'any' when `authenticated`, else 'local' */
  allowedOrigins?: AllowedOrigins | undefined
  /** `Host` names served on a loopback address, besides localhost; `'any'` turns the guard off. @default [] */
  allowedHosts?: readonly string[] | 'any' | undefined
  /** `false` sends no CORS headers. An app that has registered @fastify/cors keeps its own policy. @default true */
  cors?: boolean | undefined
  /** Bytes of the largest body. @default 10_485_760 */
  bodyLimit?: number | undefined
  /** Sessions at once, and modern requests at once; one more is answered with 503. @default 10_000 */
  maxSessions?: number | undefined
  /** Milliseconds without an open stream or a request before a session ends. `0` is never. @default 1_800_000 */
  idleTimeout?: number | undefined
  /** Milliseconds between keep-alive comments on open streams. `0` is none. @default 15_000 */
  keepAliveInterval?: number | undefined
  /** Milliseconds that open calls get to finish when the app closes. @default 5_000 */
  closeGrace?: number | undefined
  /** Bytes queued for a client that reads slowly before its stream is ended; one message always fits. @default 4_194_304 */
  maxQueuedBytes?: number | undefined
  /** Clients need a credential that a web page cannot know: `onRequest`, `preHandler` or a proxy in front asks for it. @default whether @mcp-proxy/auth does */
  authenticated?: boolean | undefined
  /** Run before the body is read, on every route of the endpoint: the place for authentication. */
  onRequest?: RouteHook | RouteHook[] | undefined
  /** Run after the body was read, on every route of the endpoint. */
  preHandler?: RouteHook | RouteHook[] | undefined
  /** Who sent a request. @default request.mcpPrincipal, which @mcp-proxy/auth sets */
  principal?: PrincipalOf | undefined
  /** Fastify's per-route configuration, for other plugins. */
  config?: RouteOptions['config'] | undefined
  /** Fastify's route constraints. */
  constraints?: RouteOptions['constraints'] | undefined
  /** `false` leaves errors to the app's own handler, a function handles them instead. @default true: errors are JSON-RPC */
  errorHandler?: boolean | ((error: FastifyError, request: FastifyRequest, reply: FastifyReply) => unknown) | undefined
  /** Makes the ids of sessions: visible ASCII that nobody can guess, also fit for a URL's query. @default randomUUID */
  newSessionId?: (() => string) | undefined
  /** Called when a session has opened. */
  onSessionOpen?: ((session: SessionInfo) => void | Promise<void>) | undefined
  /** Called when a session has ended, whatever ended it. */
  onSessionClose?: ((session: SessionInfo) => void | Promise<void>) | undefined
}

export const DEFAULT_BODY_LIMIT: number = 10 * 1024 * 1024
export const DEFAULT_MAX_SESSIONS = 10_000
export const DEFAULT_IDLE_TIMEOUT: number = 30 * 60 * 1000
export const DEFAULT_KEEP_ALIVE_INTERVAL = 15_000
export const DEFAULT_CLOSE_GRACE = 5_000
export const DEFAULT_MAX_QUEUED_BYTES: number = 4 * 1024 * 1024

/** The options of an endpoint, checked and complete. */
export interface EndpointSettings {
  readonly bodyLimit: number
  readonly maxSessions: number
  readonly idleTimeout: number
  readonly keepAliveInterval: number
  readonly closeGrace: number
  readonly maxQueuedBytes: number
  readonly principal: PrincipalOf
  readonly newSessionId: () => string
  readonly onSessionOpen: (session: SessionInfo) => void | Promise<void>
  readonly onSessionClose: (session: SessionInfo) => void | Promise<void>
}

/** @throws MCP_ERR_OPTION */
export function readEndpointOptions (options: EndpointOptions): EndpointSettings {
  return {
    bodyLimit: checkInteger('bodyLimit', options.bodyLimit ?? DEFAULT_BODY_LIMIT, 1),
    maxSessions: checkInteger('maxSessions', options.maxSessions ?? DEFAULT_MAX_SESSIONS, 1),
    idleTimeout: checkMilliseconds('idleTimeout', options.idleTimeout ?? DEFAULT_IDLE_TIMEOUT),
    keepAliveInterval: checkMilliseconds('keepAliveInterval', options.keepAliveInterval ?? DEFAULT_KEEP_ALIVE_INTERVAL),
    closeGrace: checkMilliseconds('closeGrace', options.closeGrace ?? DEFAULT_CLOSE_GRACE),
    maxQueuedBytes: checkInteger('maxQueuedBytes', options.maxQueuedBytes ?? DEFAULT_MAX_QUEUED_BYTES, 1024),
    principal: options.principal ?? principalOfRequest,
    newSessionId: options.newSessionId ?? randomUUID,
    onSessionOpen: options.onSessionOpen ?? (() => {}),
    onSessionClose: options.onSessionClose ?? (() => {}),
  }
}

/** @throws MCP_ERR_OPTION unless the value is an absolute path without a query. */
export function checkPath (name: string, value: unknown): string {
  if (typeof value === 'string' && /^\/[^?#\s]*$/.test(value)) return value
  throw mcpError('MCP_ERR_OPTION', name, 'a path that starts with /', JSON.stringify(value) ?? String(value))
}
