import { CANCELLED_ID, idKey, mcpError, type Connect, type FastifyBaseLogger, type Message } from '@mcp-proxy/protocol'
import { withTraceContext, type EndpointSettings, type EventStore, type Sessions, type Ticker } from '@mcp-proxy/endpoint'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { checkBatch, isInitialize, type Post } from './body.js'
import type { LegacyHandlers } from './dispatch.js'
import { Exchange } from './exchange.js'
import { checkAcceptsStream, requestRevision, sessionIdOf } from './headers.js'
import { StreamSession, type StreamSessionOptions } from './session.js'

export interface SessionHandlerOptions {
  readonly settings: EndpointSettings
  readonly connect: Connect
  readonly ticker: Ticker
  readonly log: FastifyBaseLogger
  readonly sessions: Sessions<StreamSession>
  readonly store: EventStore | undefined
  readonly maxConnectionAge: number
  readonly maxStreams: number
  readonly retryInterval: number
}

/** The endpoint with sessions, for legacy clients: `initialize` opens one, its id goes with every request after that, DELETE ends it. */
export function sessionHandlers ({ settings, connect, ticker, log, sessions, store, maxConnectionAge, maxStreams, retryInterval }: SessionHandlerOptions): LegacyHandlers {
  const { principal: principalOf, maxQueuedBytes } = settings
  const shared: StreamSessionOptions = { store, ticker, maxQueuedBytes, maxConnectionAge, maxStreams, retryInterval, onend: ended => sessions.delete(ended), onrefused: refused => sessions.end(refused) }

  function sessionOf (request: FastifyRequest): StreamSession {
    const id = sessionIdOf(request)
    if (id === undefined) throw mcpError('MCP_ERR_SESSION_REQUIRED', 'the Mcp-Session-Id header')
    return sessions.get(id, principalOf(request))
  }

  function openSession (request: FastifyRequest): StreamSession {
    sessions.checkRoom()
    const id = sessions.newId()
    const principal = principalOf(request)
    const session = new StreamSession(id, principal, shared)
    sessions.add(session)
    session.open(connect, { id: id.slice(0, 8), principal, request, log, era: 'legacy' })
    return session
  }

  function handle (request: FastifyRequest, reply: FastifyReply, post: Post): void {
    const { body } = post
    const [first] = body.requests
    const opens = first !== undefined && isInitialize(first)
    const known = opens && sessionIdOf(request) === undefined ? undefined : sessionOf(request)
    if (opens && known !== undefined) throw mcpError('MCP_ERR_SESSION_INITIALIZED')
    const spoken = requestRevision(request)
    checkBatch(body, known?.revision ?? spoken)
    if (sessions.closing && body.requests.length > 0) throw mcpError('MCP_ERR_CLOSING')
    known?.checkIds(body.requests)

    const session = known ?? openSession(request)
    if (body.requests.length > 0) {
      const exchange = new Exchange(session, reply, post, ticker)
      session.addExchange(exchange)
      if (opens) session.opensWith(first, exchange)
      exchange.open()
    } else {
      reply.code(202).send()
    }
    for (const message of body.messages) receive(session, withTraceContext(request, message))
  }

  function get (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> | undefined {
    checkAcceptsStream(request)
    const session = sessionOf(request)
    requestRevision(request)
    const lastEventId = request.headers['last-event-id']
    if (typeof lastEventId === 'string' && lastEventId !== '') return session.resume(lastEventId, reply).then(() => reply)
    session.listen(reply)
  }

  async function end (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const session = sessionOf(request)
    sessions.end(session)
    return reply.code(204).send()
  }

  return { GET: get, POST: handle, DELETE: end }
}

function receive (session: StreamSession, message: Message): void {
  session.onmessage?.(message)
  if (message.method !== 'notifications/cancelled') return
  const rawId = idKey(message.raw(CANCELLED_ID) ?? '')
  if (rawId !== undefined) session.dropRequest(rawId)
}
