import { isAscii } from 'node:buffer'
import { toRpcError, Message, type CodedError, type SendOptions } from '@mcp-proxy/protocol'
import type { SseStream, Ticker, Ticking } from '@mcp-proxy/endpoint'
import type { FastifyReply } from 'fastify'
import type { Body, Post } from './body.js'
import type { Channel } from './channel.js'

/** Bytes of an answer up to which it is written together with its head; beyond, copying costs more than it saves. */
const ONE_WRITE = 8192
const NONE: readonly Message[] = []

/** Whose exchange it is: a session, or a call without one. */
export interface ExchangeOwner {
  /** Makes the connection of a channel. */
  newSink: (channel: Channel) => SseStream
  /** Makes the channel on which the answer is streamed, should it come to that. */
  newChannel: () => Channel
  /** From 2025-11-25 on a stream starts with an event that has an id and no data. */
  readonly primes: boolean
  /** Called before the first byte leaves. */
  writeHead: (exchange: Exchange, reply: FastifyReply) => void
  /** Called once when nothing is owed any more. */
  finished: (exchange: Exchange) => void
}

/**
 * The answer to one POST. It stays undecided until something is said: an answer that comes first becomes plain JSON,
 * anything before it turns the response into an event stream.
 */
export class Exchange implements Ticking {
  readonly #owner: ExchangeOwner
  readonly #reply: FastifyReply
  readonly #post: Post
  readonly #ticker: Ticker
  /** Ids of requests without an answer, as JSON text. */
  #owed: string[]
  /** Answers of a batch that is not streamed. */
  #answers: readonly Message[] = NONE
  #channel: Channel | undefined
  #ticks = 0
  #finished = false

  constructor (owner: ExchangeOwner, reply: FastifyReply, post: Post, ticker: Ticker) {
    this.#owner = owner
    this.#reply = reply
    this.#post = post
    this.#ticker = ticker
    this.#owed = idsOf(post.body)
    ticker.add(this)
  }

  /** Streams from the start, where the client admits nothing else. After it was added to its owner. */
  open (): void {
    if (!this.#post.kinds.json) this.#openChannel()
  }

  /** The requests of the body; a batch may have several. */
  get requests (): readonly Message[] { return this.#post.body.requests }

  /** Messages can be sent before the answer. */
  get canStream (): boolean { return this.#post.kinds.stream && !this.#finished }
  get channel (): Channel | undefined { return this.#channel }

  /** Sends a message that is no answer. */
  send (message: Message): void | Promise<void> {
    return this.#openChannel().write(message)
  }

  /** Sends the answer to one of the requests; the last ends the response. */
  answer (message: Message, { status, retryAfter }: SendOptions = {}): void | Promise<void> {
    if (message.rawId === undefined || !this.#settle(message.rawId)) return
    if (this.#channel !== undefined) {
      const full = this.#channel.write(message)
      this.#finishIfDone()
      return full
    }
    this.#answers = this.#answers.length === 0 ? [message] : [...this.#answers, message]
    this.#finishIfDone(status, retryAfter)
  }

  /** A request will not be answered: its client has cancelled it. */
  drop (rawId: string): void {
    if (this.#settle(rawId)) this.#finishIfDone()
  }

  /** Nobody is there to be answered. */
  abandon (): void {
    this.#owed = []
    this.#finished = true
    this.#ticker.delete(this)
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

  /** `false` when no answer is owed for that id. */
  #settle (rawId: string): boolean {
    const at = this.#owed.indexOf(rawId)
    if (at === -1) return false
    this.#owed.splice(at, 1)
    return true
  }

  #openChannel (): Channel {
    if (this.#channel !== undefined) return this.#channel
    const owner = this.#owner
    const channel = owner.newChannel()
    const sink = owner.newSink(channel)
    this.#channel = channel
    owner.writeHead(this, this.#reply)
    sink.open(this.#reply)
    channel.attach(sink)
    if (owner.primes) channel.prime(true)
    for (const answer of this.#answers) void channel.write(answer)
    this.#answers = NONE
    return channel
  }

  #finishIfDone (status?: number, retryAfter?: number): void {
    if (this.#owed.length > 0 || this.#finished) return
    this.#finished = true
    const reply = this.#reply
    this.#ticker.delete(this)
    if (this.#channel !== undefined) void this.#channel.finish()
    else if (this.#answers.length === 0) reply.code(204).send() // all were cancelled, and what is cancelled gets no answer
    else {
      this.#owner.writeHead(this, reply)
      reply.code(status ?? 200).type('application/json; charset=utf-8')
      if (retryAfter !== undefined || status === 503) reply.header('retry-after', String(retryAfter ?? 1))
      reply.send(payloadOf(this.#post.body.batch ? joinArray(this.#answers) : (this.#answers[0] as Message).bytes))
    }
    this.#owner.finished(this)
  }
}

function idsOf ({ requests }: Body): string[] {
  // by far most bodies hold one
  return requests.length === 1 ? [requests[0]?.rawId as string] : requests.map(request => request.rawId as string)
}

/** Node writes a string together with the head of its response, in one call of the system; of a buffer it makes two pieces. */
function payloadOf (bytes: Buffer): Buffer | string {
  return bytes.length <= ONE_WRITE && isAscii(bytes) ? bytes.toString('latin1') : bytes
}

function joinArray (messages: readonly Message[]): Buffer {
  return Buffer.concat([...messages.flatMap(({ bytes }, index) => [Buffer.from(index === 0 ? '[' : ','), bytes]), Buffer.from(']')])
}
