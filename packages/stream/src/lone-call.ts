import { METHOD_NOT_FOUND, Message, type CodedError, type Connect, type ConnectContext, type Connection, type FastifyBaseLogger, type SendOptions, type Transport } from '@mcp-proxy/protocol'
import { SseStream, onOver, type Closing, type Ticker } from '@mcp-proxy/endpoint'
import type { FastifyReply } from 'fastify'
import type { Post } from './body.js'
import { Channel } from './channel.js'
import { Exchange, type ExchangeOwner } from './exchange.js'

/** What all calls of an endpoint share. */
export interface LoneCallOptions {
  readonly ticker: Ticker
  readonly maxQueuedBytes: number
  readonly log: FastifyBaseLogger
  /** Called once when it is answered or its client has left. */
  readonly onend: (call: LoneCall) => void
}

/** A POST without a session: a connection of its own, which ends with the last answer, or when the client leaves. */
export class LoneCall implements Transport, Closing, ExchangeOwner {
  readonly primes = false
  onmessage: ((message: Message) => void) | undefined
  readonly #options: LoneCallOptions
  readonly #exchange: Exchange
  #connection: Connection | undefined
  #ended = false
  #onsettled: (() => void) | undefined

  constructor (options: LoneCallOptions, reply: FastifyReply, post: Post) {
    this.#options = options
    this.#exchange = new Exchange(this, reply, post, options.ticker)
    // nobody can come back for the answer: the call is cancelled
    onOver(reply, () => {
      this.#exchange.abandon()
      this.finished()
    })
  }

  /** It is answered, or nobody waits for an answer. */
  get ended (): boolean { return this.#ended }

  open (connect: Connect, context: ConnectContext): void {
    this.#exchange.open()
    const connection = connect(this, context)
    this.#connection = connection
    // it may have been answered already
    if (this.#ended) this.#release(connection)
  }

  /** A message of the client. */
  receive (message: Message): void {
    this.onmessage?.(message)
  }

  send (message: Message, options?: SendOptions): void | Promise<void> {
    if (message.kind === 'response') return this.answer(message, options)
    // without a session nobody could post the answer
    if (message.kind === 'request') this.receive(refusal(message))
    else if (this.#exchange.canStream) return this.#exchange.send(message)
  }

  async settled (): Promise<void> {
    if (!this.#ended) await new Promise<void>((resolve) => { this.#onsettled = resolve })
  }

  async close (error?: CodedError): Promise<void> {
    if (error !== undefined) this.#exchange.fail(error)
  }

  protected answer (message: Message, options?: SendOptions): void | Promise<void> {
    return this.#exchange.answer(message, options)
  }

  newSink (channel: Channel): SseStream {
    const { maxQueuedBytes, ticker } = this.#options
    const sink: SseStream = new SseStream({ maxQueuedBytes, ticker, onclose: () => channel.detach(sink) })
    return sink
  }

  newChannel (): Channel { return new Channel('', undefined, 0) }

  writeHead (): void {}

  finished (): void {
    if (this.#ended) return
    this.#ended = true
    this.#options.onend(this)
    this.#onsettled?.()
    if (this.#connection !== undefined) this.#release(this.#connection)
  }

  #release (connection: Connection): void {
    connection.close()?.catch((err: unknown) => this.#options.log.error({ err }, 'connection did not end cleanly'))
  }
}

function refusal (request: Message): Message {
  return Message.error(request.rawId as string, { code: METHOD_NOT_FOUND, message: `${request.method} cannot be answered by a client without a session` })
}
