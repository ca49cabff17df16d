import { toRpcError, Message, type CodedError, type SendOptions } from '@mcp-proxy/protocol'
import type { SseStream, Ticker, Ticking } from '@mcp-proxy/endpoint'
import type { FastifyReply } from 'fastify'
import { Channel } from './channel.js'

export interface ExchangeOptions {
  readonly reply: FastifyReply
  /** The requests of the body; a batch may have several. */
  readonly requests: readonly Message[]
  /** The body was an array: so is the answer, where it is JSON. */
  readonly batch: boolean
  /** What the client's `Accept` admits. */
  readonly json: boolean
  readonly stream: boolean
  readonly ticker: Ticker
  /** Makes the connection of a channel. */
  readonly newSink: (channel: Channel) => SseStream
  /** Makes the channel on which the answer is streamed, should it come to that. */
  readonly newChannel: () => Channel
  /** From 2025-11-25 on a stream starts with an event that has an id and no data. */
  readonly primes: boolean
  /** Called before the first byte leaves. */
  readonly onhead: ((reply: FastifyReply) => void) | undefined
  /** Called once when nothing is owed any more. */
  readonly onfinish: (exchange: Exchange) => void
}

/**
 * The answer to one POST. It stays undecided until something is said: an answer that comes first becomes plain JSON,
 * anything before it turns the response into an event stream.
 */
export class Exchange implements Ticking {
  readonly #options: ExchangeOptions
  /** Ids of requests without an answer, as JSON text. */
  readonly #owed: Set<string>
  /** Answers of a batch that is not streamed. */
  readonly #answers: Message[] = []
  #channel: Channel | undefined
  #ticks = 0
  #finished = false

  constructor (options: ExchangeOptions) {
    this.#options = options
    this.#owed = new Set(options.requests.map(request => request.rawId as string))
    options.ticker.add(this)
    if (!options.json) this.#openChannel()
  }

  /** Messages can be sent before the answer. */
  get canStream (): boolean { return this.#options.stream && !this.#finished }
  get channel (): Channel | undefined { return this.#channel }

  /** Sends a message that is no answer. */
  send (message: Message): void | Promise<void> {
    return this.#openChannel().write(message)
  }

  /** Sends the answer to one of the requests; the last ends the response. */
  answer (message: Message, { status, retryAfter }: SendOptions = {}): void | Promise<void> {
    if (message.rawId === undefined || !this.#owed.delete(message.rawId)) return
    if (this.#channel !== undefined) {
      const full = this.#channel.write(message)
      this.#finishIfDone()
      return full
    }
    this.#answers.push(message)
    this.#finishIfDone(status, retryAfter)
  }

  /** A request will not be answered: its client has cancelled it. */
  drop (rawId: string): void {
    if (this.#owed.delete(rawId)) this.#finishIfDone()
  }

  /** Nobody is there to be answered. */
  abandon (): void {
    this.#owed.clear()
    this.#finished = true
    this.#options.ticker.delete(this)
  }

  /** Answers all that is owed with an error. */
  fail (error: CodedError): void {
    for (const rawId of [...this.#owed]) void this.answer(Message.error(rawId, toRpcError(error)), { status: error.statusCode })
  }

  /** Quiet for a whole interval: open the stream, so that nothing between takes the connection for dead. */
  tick (): void {
    if (++this.#ticks >= 2 && this.#channel === undefined && this.canStream) this.#openChannel()
  }

  /** Resolves when the connection is done with a stream that has ended. */
  async ended (): Promise<void> {
    await this.#channel?.finish()
  }

  #openChannel (): Channel {
    if (this.#channel !== undefined) return this.#channel
    const { reply, newChannel, newSink, primes, onhead } = this.#options
    const channel = newChannel()
    const sink = newSink(channel)
    this.#channel = channel
    onhead?.(reply)
    sink.open(reply)
    channel.attach(sink)
    if (primes) channel.prime(true)
    for (const answer of this.#answers.splice(0)) void channel.write(answer)
    return channel
  }

  #finishIfDone (status?: number, retryAfter?: number): void {
    if (this.#owed.size > 0 || this.#finished) return
    this.#finished = true
    const { reply, ticker, batch, onhead, onfinish } = this.#options
    ticker.delete(this)
    if (this.#channel !== undefined) void this.#channel.finish()
    else if (this.#answers.length === 0) reply.code(204).send() // all were cancelled, and what is cancelled gets no answer
    else {
      onhead?.(reply)
      const [first] = this.#answers
      reply.code(status ?? 200).type('application/json')
      if (retryAfter !== undefined || status === 503) reply.header('retry-after', String(retryAfter ?? 1))
      reply.send(batch ? joinArray(this.#answers) : first?.bytes)
    }
    onfinish(this)
  }
}

function joinArray (messages: readonly Message[]): Buffer {
  return Buffer.concat([...messages.flatMap(({ bytes }, index) => [Buffer.from(index === 0 ? '[' : ','), bytes]), Buffer.from(']')])
}
