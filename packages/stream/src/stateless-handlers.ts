import { BusySet, type Connect, type FastifyBaseLogger } from '@mcp-proxy/protocol'
import { closeGracefully, hasLeft, withTraceContext, type EndpointSettings, type Ticker } from '@mcp-proxy/endpoint'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { checkBatch, type Post } from './body.js'
import type { LegacyHandlers } from './dispatch.js'
import { requestRevision } from './headers.js'
import { LoneCall, type LoneCallOptions } from './lone-call.js'

export interface StatelessHandlerOptions {
  readonly settings: EndpointSettings
  readonly connect: Connect
  readonly ticker: Ticker
  readonly log: FastifyBaseLogger
  /** Registers what has to happen when the app closes. */
  readonly onPreClose: (close: () => Promise<void>) => void
}

/** The endpoint without sessions, for legacy clients: every POST is a connection of its own, which ends with the last answer. */
export function statelessHandlers ({ settings, connect, ticker, log, onPreClose }: StatelessHandlerOptions): LegacyHandlers {
  const { principal: principalOf, maxQueuedBytes, closeGrace } = settings
  const open = new BusySet<LoneCall>()
  const shared: LoneCallOptions = { ticker, maxQueuedBytes, log, onend: ended => open.delete(ended) }
  onPreClose(() => closeGracefully([...open], closeGrace, ticker))

  function handle (request: FastifyRequest, reply: FastifyReply, post: Post): void {
    const { body } = post
    checkBatch(body, requestRevision(request))
    if (body.requests.length === 0) {
      // nothing is kept between requests that a notification could be about
      reply.code(202).send()
      return
    }
    // a call of nobody would never end
    if (hasLeft(reply)) return
    const call = new LoneCall(shared, reply, post)
    open.add(call)
    call.open(connect, { id: String(request.id), principal: principalOf(request), request, log, answers: false })
    for (const message of body.messages) call.receive(withTraceContext(request, message))
  }

  return { POST: handle }
}
