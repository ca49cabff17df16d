export { accepts } from './accept.js'
export { DEFAULT_MAX_EVENTS, DEFAULT_MAX_EVENT_AGE, DEFAULT_MAX_EVENT_BYTES, DEFAULT_MAX_STREAM_BYTES, InMemoryEventStore, type EventId, type EventStore, type InMemoryEventStoreOptions, type StreamId } from './event-store.js'
export {
  DEFAULT_BODY_LIMIT, DEFAULT_CLOSE_GRACE, DEFAULT_IDLE_TIMEOUT, DEFAULT_KEEP_ALIVE_INTERVAL, DEFAULT_MAX_QUEUED_BYTES, DEFAULT_MAX_SESSIONS, checkPath,
  type AllowedOrigins, type EndpointOptions, type EndpointSettings, type RouteHook, type SessionInfo
} from './options.js'
export { principalOfRequest, type PrincipalOf } from './principal.js'
export { rpcErrorHandler } from './error-handler.js'
export { settleConnections, watchConnections } from './connections.js'
export { EndpointScope, endpointPlugin, type Handlers } from './scope.js'
export { closeGracefully, type Closing } from './closing.js'
export { Sessions, type Session } from './sessions.js'
export { DEFAULT_IN_PROCESS_NAME, inProcess, type CreateServer, type CreateServerForRequest, type InProcess, type InProcessOptions, type InProcessServer } from './in-process.js'
export { ServerTransport, type SdkMessageExtra, type SdkTransport } from './sdk-transport.js'
export { checkSources, connectInProcess, connectRemote, connectSource, type RemoteOptions } from './source.js'
export type { SseEvent } from './sse-frame.js'
export { SseStream } from './sse-stream.js'
export { Ticker, type Ticking } from './ticker.js'
export { withTraceContext } from './trace-context.js'
