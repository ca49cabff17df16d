import { Message, type JsonRpcMessage } from '@mcp-proxy/protocol'
import type { EventId, EventStore, SseStream } from '@mcp-proxy/endpoint'

/** Stored where an event has an id but no message; stores only ever replay what is behind an event. */
const NOTHING = {} as JsonRpcMessage

/**
 * One event stream of a session, which outlives the connections that carry it: what is said while none does is kept in
 * the event store and follows when the client is back (2025-11-25, "Resumability and Redelivery").
 */
export class Channel {
  readonly id: string
  readonly #store: EventStore | undefined
  readonly #retry: number
  #sink: SseStream | undefined
  /** Behind which event a client goes on that does not say what it has seen. */
  #cursor: EventId | undefined
  /** What has to be done before the next message: a replay, or a store that does not answer at once. */
  #tail: Promise<void> | undefined

  /** @param retry milliseconds that a client whose connection ends waits before it comes back */
  constructor (id: string, store: EventStore | undefined, retry: number) {
    this.id = id
    this.#store = store
    this.#retry = retry
  }

  get attached (): boolean { return this.#sink !== undefined }

  /** Sends a message in its turn, or keeps it. A promise means that the reader, or the store, is slow. */
  write (message: Message): void | Promise<void> {
    return this.#put(message, (id) => {
      if (this.#sink === undefined) return
      this.#cursor = id
      return this.#sink.write({ id, event: 'message', data: message.bytes })
    })
  }

  /**
   * Marks the start, so that whatever comes can be asked for later.
   * @param show send it: an event with an id and empty data (from 2025-11-25 on, SEP-1699)
   */
  prime (show: boolean): void {
    if (this.#store === undefined) return
    void this.#put(NOTHING, (id) => {
      this.#cursor = id
      if (show) this.showCursor()
    })
  }

  /** Tells a client that has just come where it is, so that it can come back there. */
  showCursor (): void {
    if (this.#cursor !== undefined) void this.#sink?.write({ id: this.#cursor, data: '', retry: this.#retry })
  }

  /** Ends a connection, not the stream: the client comes back. */
  recycle (sink: SseStream): void {
    if (this.#sink !== sink || this.#cursor === undefined) return
    this.showCursor()
    this.#sink = undefined
    void sink.end()
  }

  /** A connection takes over from another; what none has carried yet goes first. `after` is the last event that the client has seen. */
  attach (sink: SseStream, after: EventId | undefined = this.#cursor): void {
    const former = this.#sink
    this.#sink = sink
    void former?.end()
    if (after === undefined) return
    void this.#then(async () => {
      await this.#store?.replayEventsAfter(after, {
        send: async (id, message) => {
          this.#cursor = id
          await sink.write({ id, event: 'message', data: Message.from(message).bytes })
        }
      })
    })
  }

  /** The connection has gone. */
  detach (sink: SseStream): void {
    if (this.#sink === sink) this.#sink = undefined
  }

  /** Nothing more will be said: ends the connection behind what has been. */
  async finish (): Promise<void> {
    await this.#tail
    await this.#sink?.end()
  }

  #put (message: JsonRpcMessage, emit: (id: EventId | undefined) => void | Promise<void>): void | Promise<void> {
    const store = this.#store
    if (store === undefined) return emit(undefined)
    if (this.#tail === undefined) {
      const id = store.storeEvent(this.id, message)
      if (typeof id === 'string') return emit(id)
      return this.#then(async () => { void emit(await id) }, () => { void emit(undefined) })
    }
    return this.#then(async () => { void emit(await store.storeEvent(this.id, message)) }, () => { void emit(undefined) })
  }

  /** Does something behind all that is under way. When it fails, `otherwise`: a store that is down loses resumption, no message. */
  #then (step: () => Promise<void>, otherwise: () => void = () => {}): Promise<void> {
    const tail: Promise<void> = (this.#tail ?? Promise.resolve()).then(step).catch(otherwise).finally(() => {
      if (this.#tail === tail) this.#tail = undefined
    })
    this.#tail = tail
    return tail
  }
}
