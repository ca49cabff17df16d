import { BusyMap, PRIMING_SINCE, isLegacyRevision, mcpError, type CodedError, type Connect, type ConnectContext, type Connection, type Message, type SendOptions, type Transport } from '@mcp-proxy/protocol'
import { SseStream, type EventId, type EventStore, type Session, type Ticker } from '@mcp-proxy/endpoint'
import type { FastifyReply } from 'fastify'
import { Channel } from './channel.js'
import type { Exchange, ExchangeOwner } from './exchange.js'
import { SESSION_ID } from './headers.js'

/** What all sessions of an endpoint share. */
export interface StreamSessionOptions {
  /** Where streams keep what they have sent; `undefined` keeps nothing. */
  readonly store: EventStore | undefined
  readonly ticker: Ticker
  readonly maxQueuedBytes: number
  /** Milliseconds after which the connection of a stream is ended, to be opened anew; `0` is never. */
  readonly maxConnectionAge: number
  /** Streams that may be open by GET at once. */
  readonly maxStreams: number
  /** Milliseconds that a client waits before it comes back. */
  readonly retryInterval: number
  readonly onend: (session: StreamSession) => void
  /** The server has refused the handshake: the session is of no use. */
  readonly onrefused: (session: StreamSession) => void
}

/** Milliseconds that readers get to take what is kept for them when their session ends. */
const FINISH_TIMEOUT = 1000
const NONE: readonly SseStream[] = []

/** One client of Streamable HTTP with a session id (2025-11-25, "Session Management"). */
export class StreamSession implements Session, Transport, ExchangeOwner {
  readonly id: string
  readonly transport = 'stream'
  readonly principal: string | undefined
  lastSeen: number = Date.now()
  onmessage: ((message: Message) => void) | undefined
  onclose: (() => void) | undefined
  readonly #options: StreamSessionOptions
  /** Open exchanges by the ids of their requests, as JSON text. */
  readonly #exchanges = new BusyMap<string, Exchange>()
  /** Streams that can still say something, by their id. */
  readonly #channels = new Map<string, Channel>()
  /** The stream that belongs to no request: what a GET opens. */
  #standalone: Channel | undefined
  /** The last `list_changed` of each kind that was kept because nobody listened. */
  #unheard: Map<string, Buffer> | undefined
  /** Connections opened by GET; a new array whenever one comes or goes. */
  #gets: readonly SseStream[] = NONE
  #connection: Connection | undefined
  #revision: string | undefined
  /** The id of the handshake, until it is answered. */
  #initializeId: string | undefined
  /** The exchange that answers it. */
  #opening: Exchange | undefined
  #nextChannel = 0
  /** The handshake has failed. */
  #refused = false
  #ended = false
  #closing: Promise<void> | undefined
  #onsettled: (() => void) | undefined

  constructor (id: string, principal: string | undefined, options: StreamSessionOptions) {
    this.id = id
    this.principal = principal
    this.#options = options
  }

  get sessionId (): string { return this.id }
  /** The session has not ended. */
  get live (): boolean { return !this.#ended && !this.#refused }
  get busy (): boolean { return this.#exchanges.size > 0 || this.#standalone?.attached === true }
  /** Streams start with an event that has an id and no data. */
  get primes (): boolean { return this.#options.store !== undefined && this.#revision !== undefined && this.#revision >= PRIMING_SINCE }
  /** The revision that client and server have agreed on; `undefined` before they have. */
  get revision (): string | undefined { return this.#revision }

  open (connect: Connect, context: ConnectContext): void {
    this.#connection = connect(this, context)
  }

  send (message: Message, options: SendOptions = {}): void | Promise<void> {
    if (message.kind === 'response') {
      const exchange = this.#exchanges.get(message.rawId ?? '')
      if (message.rawId === this.#initializeId) this.#readRevision(message)
      return exchange?.answer(message, options)
    }
    const exchange = this.#streamFor(options.relatedRequestId)
    if (exchange !== undefined) return exchange.send(message)
    const channel = this.#standaloneChannel()
    return this.#isOldNews(channel, message) ? undefined : channel.write(message)
  }

  /** `list_changed` says nothing new to a client that has not come for the last one: a server that restarts a lot would fill the store. */
  #isOldNews (channel: Channel, { method, bytes }: Message): boolean {
    if (channel.attached) this.#unheard = undefined
    if (channel.attached || method?.endsWith('/list_changed') !== true) return false
    this.#unheard ??= new Map()
    const known = this.#unheard.get(method)?.equals(bytes) === true
    this.#unheard.set(method, bytes)
    return known
  }

  /** The handshake that opens the session. */
  opensWith (initialize: Message, exchange: Exchange): void {
    this.#initializeId = initialize.rawId
    this.#opening = exchange
  }

  addExchange (exchange: Exchange): void {
    for (const { rawId } of exchange.requests) this.#exchanges.set(rawId as string, exchange)
  }

  /** @throws MCP_ERR_ID_IN_USE */
  checkIds (requests: readonly Message[]): void {
    for (const { rawId } of requests) if (this.#exchanges.has(rawId as string)) throw mcpError('MCP_ERR_ID_IN_USE', rawId as string)
  }

  /** The answer to the handshake tells the client its session. */
  writeHead (exchange: Exchange, reply: FastifyReply): void {
    if (exchange !== this.#opening) return
    this.#opening = undefined
    if (this.live) reply.header(SESSION_ID, this.id)
  }

  /** Nothing is owed on this exchange any more. */
  finished (exchange: Exchange): void {
    for (const { rawId } of exchange.requests) if (this.#exchanges.get(rawId as string) === exchange) this.#exchanges.delete(rawId as string)
    const { channel } = exchange
    // a stream whose last words are still being stored can be resumed
    if (channel !== undefined) void channel.finish().then(() => this.#channels.delete(channel.id))
    this.lastSeen = Date.now()
    if (this.#exchanges.size === 0) this.#onsettled?.()
  }

  /** The client has cancelled a request: its stream ends without an answer. */
  dropRequest (rawId: string): void {
    const exchange = this.#exchanges.get(rawId)
    this.#exchanges.delete(rawId)
    exchange?.drop(rawId)
  }

  newChannel (): Channel {
    const channel = new Channel(this.#streamPrefix + this.#nextChannel++, this.#options.store, this.#options.retryInterval)
    this.#channels.set(channel.id, channel)
    return channel
  }

  /** Answers a GET with the stream that belongs to no request. The newest connection wins: the former ends. */
  listen (reply: FastifyReply): void {
    this.#checkStreams()
    const channel = this.#standaloneChannel()
    this.#unheard = undefined
    const sink = this.#newGetSink(channel)
    sink.open(reply)
    channel.attach(sink)
    if (this.primes) channel.showCursor()
  }

  #checkStreams (): void {
    if (this.#gets.length >= this.#options.maxStreams) throw mcpError('MCP_ERR_STREAM_LIMIT', this.#options.maxStreams)
  }

  #newGetSink (channel: Channel): SseStream {
    const sink = this.newSink(channel)
    this.#gets = [...this.#gets, sink]
    return sink
  }

  /** A connection for a stream. From 2025-11-25 on it may be ended before the stream is (SEP-1699). */
  newSink (channel: Channel): SseStream {
    const { maxQueuedBytes, ticker, maxConnectionAge } = this.#options
    const sink: SseStream = new SseStream({
      maxQueuedBytes,
      ticker,
      onclose: () => {
        clearTimeout(timer)
        channel.detach(sink)
        this.#gets = this.#gets.filter(other => other !== sink)
        this.lastSeen = Date.now()
      }
    })
    const timer = maxConnectionAge > 0 && this.primes ? setTimeout(() => channel.recycle(sink), maxConnectionAge).unref() : undefined
    return sink
  }

  /**
   * Answers a GET with the stream that an event was on, from behind that event.
   * @throws MCP_ERR_EVENT_NOT_FOUND, MCP_ERR_STREAM_LIMIT, MCP_ERR_SESSION_NOT_FOUND
   */
  async resume (lastEventId: EventId, reply: FastifyReply): Promise<void> {
    this.#checkStreams()
    const store = this.#options.store
    const found = store === undefined ? undefined : await findStream(store, lastEventId)
    // it may have ended while the store was asked
    if (!this.live) throw mcpError('MCP_ERR_SESSION_NOT_FOUND')
    // an event of another session's stream is as good as none
    if (found === undefined || !found.streamId.startsWith(this.#streamPrefix)) throw mcpError('MCP_ERR_EVENT_NOT_FOUND')
    const live = this.#channels.get(found.streamId)
    if (live === undefined && found.missed === 0) {
      // the stream has ended and the client has seen all of it; 204 tells it not to come again (HTML standard, 9.2.3)
      reply.code(204).send()
      return
    }
    const channel = live ?? new Channel(found.streamId, store, this.#options.retryInterval)
    // the client has come for the last change: the next one is news to it
    if (channel === this.#standalone) this.#unheard = undefined
    const sink = this.#newGetSink(channel)
    sink.open(reply)
    channel.attach(sink, lastEventId)
    if (live === undefined) void channel.finish()
  }

  async settled (): Promise<void> {
    if (this.#exchanges.size > 0) await new Promise<void>((resolve) => { this.#onsettled = resolve })
  }

  async close (error?: CodedError): Promise<void> {
    await (this.#closing ??= this.#close(error))
  }

  async #close (error: CodedError | undefined): Promise<void> {
    this.#ended = true
    this.#options.onend(this)
    const channels = [...this.#channels.values()]
    // an error costs as much as a call: most sessions end with nothing open
    if (this.#exchanges.size > 0) {
      const reason = error ?? mcpError('MCP_ERR_SESSION_ENDED')
      for (const exchange of new Set(this.#exchanges.values())) exchange.fail(reason)
    }
    // a reader that has stopped amid a replay would never let its stream finish
    const timer = setTimeout(() => { for (const sink of this.#gets) sink.destroy() }, FINISH_TIMEOUT).unref()
    await Promise.all([this.#connection?.close(), ...channels.map(channel => channel.finish())])
    await Promise.all(this.#gets.map(sink => sink.end()))
    clearTimeout(timer)
    this.#forgetStreams()
  }

  #forgetStreams (): void {
    const { store } = this.#options
    // a store that is down keeps no session from ending
    const forget = async (streamId: string): Promise<void> => { await store?.forgetStream?.(streamId) }
    for (let n = 0; n < this.#nextChannel; n++) forget(this.#streamPrefix + n).catch(() => {})
  }

  /** The open exchange that a message can travel on; `undefined`: the standalone stream. */
  #streamFor (relatedRequestId: string | undefined): Exchange | undefined {
    const related = relatedRequestId === undefined ? undefined : this.#exchanges.get(relatedRequestId)
    if (related?.canStream === true) return related
    if (this.#standalone?.attached === true) return undefined
    // nobody listens: the latest answer that is still open will be read, the standalone stream perhaps never
    return [...this.#exchanges.values()].findLast(exchange => exchange.canStream)
  }

  #standaloneChannel (): Channel {
    if (this.#standalone === undefined) {
      this.#standalone = this.newChannel()
      this.#standalone.prime(false)
    }
    return this.#standalone
  }

  /** Tells whose stream an event id belongs to. The whole session id is a secret; its first half suffices to tell sessions apart. */
  get #streamPrefix (): string {
    return `${this.id.slice(0, 18)}.`
  }

  #readRevision (answer: Message): void {
    this.#initializeId = undefined
    if (answer.failed) {
      // there is nothing to come back to; the answer itself goes out first
      this.#refused = true
      queueMicrotask(() => this.#options.onrefused(this))
      return
    }
    const revision = answer.result?.['protocolVersion']
    if (isLegacyRevision(revision)) this.#revision = revision
  }
}

/** The stream that an event was on, and how many events came behind it; `undefined` when the store does not know the event. */
async function findStream (store: EventStore, eventId: EventId): Promise<{ streamId: string, missed: number } | undefined> {
  let missed = 0
  try {
    const streamId = await store.replayEventsAfter(eventId, { send: async () => { missed++ } })
    return { streamId, missed }
  } catch {
    return undefined
  }
}
