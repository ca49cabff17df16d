import { Message, mcpError } from '@mcp-proxy/protocol'
import { EndpointScope, Sessions, SseStream, Ticker, accepts, checkPath, connectSource, endpointPlugin, settleConnections, withTraceContext, type EndpointOptions } from '@mcp-proxy/endpoint'
import type { FastifyPluginAsync, RouteHandlerMethod } from 'fastify'
import { SseSession } from './session.js'

/** Options of the HTTP+SSE endpoint. */
export interface McpSseOptions extends EndpointOptions {
  /** Where clients open their event stream. @default '/sse' */
  path?: string | undefined
  /** Where clients post messages; told to them in the first event. @default '/messages' */
  messagesPath?: string | undefined
  /**
   * What stands before `messagesPath` in the first event. Set it where a proxy in front serves the app below another
   * path than the app knows. @default the prefix under which the plugin is registered
   */
  publicPrefix?: string | undefined
}

export const DEFAULT_SSE_PATH = '/sse'
export const DEFAULT_MESSAGES_PATH = '/messages'

/** The only revision whose transport this is. */
const REVISION = '2024-11-05'

const plugin: FastifyPluginAsync<McpSseOptions> = async (fastify, options) => {
  const path = checkPath('path', options.path ?? DEFAULT_SSE_PATH)
  const messagesPath = checkPath('messagesPath', options.messagesPath ?? DEFAULT_MESSAGES_PATH)
  const scope = await EndpointScope.open(fastify, options)
  const connect = await connectSource(fastify, options)
  const ticker = new Ticker(scope.settings.keepAliveInterval)
  const sessions = new Sessions<SseSession>(fastify, scope.settings, ticker)
  const { principal: principalOf, maxQueuedBytes } = scope.settings
  // Fastify joins '/api/' and '/messages' with one slash; and '//messages' would be the name of a host
  const messagesUrl = (options.publicPrefix ?? fastify.prefix).replace(/\/+$/, '') + messagesPath

  const openStream: RouteHandlerMethod = (request, reply) => {
    const { accept } = request.headers
    if (!accepts(accept, 'text/event-stream')) throw mcpError('MCP_ERR_ACCEPT', 'text/event-stream', JSON.stringify(accept))
    sessions.checkRoom()
    const id = sessions.newId()
    const principal = principalOf(request)
    const stream = new SseStream({ maxQueuedBytes, ticker, onclose: () => sessions.end(session) })
    const session = new SseSession(id, principal, stream, ended => sessions.delete(ended))
    sessions.add(session)
    session.open(connect, { id: shortId(id), principal, request, log: fastify.log, era: 'legacy' })
    void stream.write({ event: 'endpoint', data: `${messagesUrl}?sessionId=${id}` })
    stream.open(reply, false)
  }

  const postMessage: RouteHandlerMethod = (request, reply) => {
    const { sessionId } = request.query as { sessionId?: unknown }
    if (typeof sessionId !== 'string') throw mcpError('MCP_ERR_SESSION_REQUIRED', 'the query, as sessionId')
    const session = sessions.get(sessionId, principalOf(request))
    const message = readMessage(request.body)
    if (message.kind === 'request') request.mcpRequestId = message.rawId ?? null
    if (sessions.closing && message.kind === 'request') throw mcpError('MCP_ERR_CLOSING')
    session.checkId(message)
    // the answer travels on the event stream: this one only says that the message has arrived
    reply.code(202).type('text/plain').send('Accepted')
    session.receive(withTraceContext(request, message))
  }

  fastify.addHook('preClose', () => settleConnections(fastify, scope.settings.closeGrace))

  scope.route(path, { GET: openStream })
  scope.route(messagesPath, { POST: postMessage })
}

function readMessage (body: unknown): Message {
  const message = Message.parse(Buffer.isBuffer(body) ? body : Buffer.alloc(0))
  if (Array.isArray(message)) throw mcpError('MCP_ERR_BATCH', REVISION)
  return message
}

/** Enough of a session id to find it in a log, not enough to use it. */
function shortId (id: string): string {
  return id.slice(0, 8)
}

/** Serves an MCP server over HTTP+SSE, the transport of revision 2024-11-05. */
export const mcpSse: FastifyPluginAsync<McpSseOptions> = endpointPlugin('@mcp-proxy/sse', plugin)
export default mcpSse
