import { METHOD_NOT_FOUND, Message, type Connect, type FastifyBaseLogger, type Transport } from '@mcp-proxy/protocol'
import { SseStream, closeGracefully, type Closing, type EndpointSettings, type Handlers, type Ticker } from '@mcp-proxy/endpoint'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { checkBatch, readBody } from './body.js'
import { Channel } from './channel.js'
import { Exchange } from './exchange.js'
import { acceptedKinds, requestRevision } from './headers.js'

export interface StatelessHandlerOptions {
  readonly settings: EndpointSettings
  readonly connect: Connect
  readonly ticker: Ticker
  readonly log: FastifyBaseLogger
  /** Registers what has to happen when the app closes. */
  readonly onPreClose: (close: () => Promise<void>) => void
}

/** The endpoint without sessions: every POST is a connection of its own, which ends with the last answer. */
export function statelessHandlers ({ settings, connect, ticker, log, onPreClose }: StatelessHandlerOptions): Handlers {
  const { principal: principalOf, maxQueuedBytes, closeGrace } = settings
  const open = new Set<Closing>()
  onPreClose(() => closeGracefully(open, closeGrace, ticker))

  function post (request: FastifyRequest, reply: FastifyReply): void {
    const kinds = acceptedKinds(request)
    const body = readBody(request)
    checkBatch(body, requestRevision(request))
    if (body.requests.length === 0) {
      // nothing is kept between requests that a notification could be about
      reply.code(202).send()
      return
    }
    const transport: Transport = {
      send: (message, options) => {
        if (message.kind === 'response') return exchange.answer(message, options)
        // without a session nobody could post the answer
        if (message.kind === 'request') transport.onmessage?.(refusal(message))
        else if (exchange.canStream) return exchange.send(message)
      },
      close: () => {},
    }
    const exchange = new Exchange({
      ...kinds,
      reply,
      requests: body.requests,
      batch: body.batch,
      ticker,
      newSink: (channel) => {
        const sink: SseStream = new SseStream({ maxQueuedBytes, ticker, onclose: () => channel.detach(sink) })
        return sink
      },
      newChannel: () => new Channel('', undefined, 0),
      primes: false,
      onhead: undefined,
      onfinish: () => finish(),
    })
    const connection = connect(transport, { id: String(request.id), principal: principalOf(request), request, log, answers: false })
    let onsettled = (): void => {}
    const settled = new Promise<void>((resolve) => { onsettled = resolve })
    const closing: Closing = { settled: () => settled, close: async error => { if (error !== undefined) exchange.fail(error) } }
    open.add(closing)
    const finish = (): void => {
      open.delete(closing)
      onsettled()
      connection.close().catch((err: unknown) => log.error({ err }, 'connection did not end cleanly'))
    }
    // nobody can come back for the answer: the call is cancelled
    reply.raw.once('close', () => {
      exchange.abandon()
      finish()
    })
    for (const message of body.messages) receive(transport, message)
  }

  return { POST: post }
}

/** Called in a function of its own: `onmessage` is set by the time a message is passed on, which the compiler cannot see. */
function receive (transport: Transport, message: Message): void {
  transport.onmessage?.(message)
}

function refusal (request: Message): Message {
  return Message.error(request.rawId as string, { code: METHOD_NOT_FOUND, message: `${request.method} cannot be answered by a client without a session` })
}
