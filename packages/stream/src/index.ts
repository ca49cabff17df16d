import { checkInteger, checkMilliseconds } from '@mcp-proxy/protocol'
import { checkPath, EndpointScope, InMemoryEventStore, Sessions, Ticker, connectSource, endpointPlugin, settleConnections, type EndpointOptions, type EventStore } from '@mcp-proxy/endpoint'
import type { FastifyPluginAsync } from 'fastify'
import { dispatch } from './dispatch.js'
import { modernHandler } from './modern-handler.js'
import { sessionHandlers } from './session-handlers.js'
import { statelessHandlers } from './stateless-handlers.js'
import type { StreamSession } from './session.js'

/** Options of the Streamable HTTP endpoint. */
export interface McpStreamOptions extends EndpointOptions {
  /** The one path of the endpoint, or several that share its sessions. @default '/stream' */
  path?: string | readonly string[] | undefined
  /** Serve legacy clients without sessions too, every POST by itself: for load balancers that do not stick. @default false */
  stateless?: boolean | undefined
  /**
   * Where the streams of all sessions keep what they have sent, so that clients can resume them. `false` keeps nothing.
   * @default an InMemoryEventStore
   */
  eventStore?: EventStore | false | undefined
  /**
   * Milliseconds after which the connection of an event stream is ended; its client comes back for the rest. For
   * sessions of 2025-11-25 and later, whose clients know that. `0` is never. @default 0
   */
  maxConnectionAge?: number | undefined
  /** Streams that one session may have open by GET. @default 100 */
  maxStreams?: number | undefined
  /** Milliseconds that such a client waits before it comes back. @default 1_000 */
  retryInterval?: number | undefined
}

export const DEFAULT_STREAM_PATH = '/stream'
export const DEFAULT_MAX_STREAMS = 100
export const DEFAULT_RETRY_INTERVAL = 1_000

const plugin: FastifyPluginAsync<McpStreamOptions> = async (fastify, options) => {
  const { path = DEFAULT_STREAM_PATH, stateless = false, eventStore } = options
  const paths = (typeof path === 'string' ? [path] : path).map(item => checkPath('path', item))
  const scope = await EndpointScope.open(fastify, options)
  const { settings } = scope
  const shared = { settings, connect: await connectSource(fastify, options), ticker: new Ticker(settings.keepAliveInterval), log: fastify.log }
  const modern = modernHandler(shared)
  // begun before and awaited behind what legacy clients have open: Fastify waits for one hook after the other
  let closed: Promise<unknown> | undefined
  fastify.addHook('preClose', async () => { closed = modern.close().catch((err: unknown) => fastify.log.error({ err }, 'calls did not end cleanly')) })
  const legacy = stateless
    ? statelessHandlers({ ...shared, onPreClose: close => { fastify.addHook('preClose', close) } })
    : sessionHandlers({
      ...shared,
      sessions: new Sessions<StreamSession>(fastify, settings, shared.ticker),
      store: eventStore === false ? undefined : eventStore ?? new InMemoryEventStore(),
      maxConnectionAge: checkMilliseconds('maxConnectionAge', options.maxConnectionAge ?? 0),
      maxStreams: checkInteger('maxStreams', options.maxStreams ?? DEFAULT_MAX_STREAMS, 1),
      retryInterval: checkMilliseconds('retryInterval', options.retryInterval ?? DEFAULT_RETRY_INTERVAL),
    })
  fastify.addHook('preClose', async () => { await closed })
  fastify.addHook('preClose', () => settleConnections(fastify, settings.closeGrace))
  const handlers = dispatch(legacy, modern.post)
  for (const item of paths) scope.route(item, handlers)
}

/** Serves an MCP server over Streamable HTTP, the transport of revisions 2025-03-26 to 2026-07-28. */
export const mcpStream: FastifyPluginAsync<McpStreamOptions> = endpointPlugin('@mcp-proxy/stream', plugin)
export default mcpStream
