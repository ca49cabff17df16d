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
  /** Behind which event the client goes on that does not say what it has seen. */
  #cursor: EventId | undefined
  /** The last event that was stored. */
  #last: EventId | undefined
  /** What is being stored by a store that does not answer at once; events keep their order. */
  #storing: Promise<void> | undefined
  /** A connection that is being brought up to date: what is stored meanwhile reaches it that way. */
  #late: SseStream | undefined
  #replaying: Promise<void> | undefined
  #finished = false

  /** @param retry milliseconds that a client whose connection ends waits before it comes back */
  constructor (id: string, store: EventStore | undefined, retry: number) {
    this.id = id
    this.#store = store
    this.#retry = retry
  }

  get attached (): boolean { return this.#sink !== undefined }

  /** Sends a message in its turn, or keeps it. A promise means that the reader, or the store, is slow. */
  write (message: Message): void | Promise<void> {
    return this.#keep(message, (id) => {
      if (this.#sink === undefined || this.#late === this.#sink) return
      this.#cursor = id
      return this.#sink.write({ id, event: 'message', data: message.bytes })
    })
  }

  /**
   * Marks the start, so that whatever comes can be asked for later.
   * @param show send it: an event with an id and empty data (from 2025-11-25 on, SEP-1699)
   */
  prime (show: boolean): void {
    void this.#keep(NOTHING, (id) => {
      this.#cursor = id
      if (show) this.showCursor()
    })
  }

  /** Tells a client that has just come where it is, so that it can come back there. */
  showCursor (): void {
    if (this.#cursor !== undefined) void this.#sink?.write({ id: this.#cursor, data: '', retry: this.#retry })
  }

  /** A connection takes over from another; what none has carried yet goes first. `after` is the last event that the client has seen. */
  attach (sink: SseStream, after: EventId | undefined = this.#cursor): void {
    const former = this.#sink
    this.#sink = sink
    void former?.end()
    if (this.#store !== undefined && after !== undefined) {
      this.#cursor = after
      this.#late = sink
      const replaying: Promise<void> = this.#replay(this.#store, sink).then(() => { if (this.#replaying === replaying) this.#replaying = undefined })
      this.#replaying = replaying
    }
    // it came back for the rest of a stream that has ended
    if (this.#finished) void this.finish()
  }

  /** Ends a connection, not the stream: the client comes back. */
  recycle (sink: SseStream): void {
    if (this.#sink !== sink || this.#cursor === undefined || this.#late === sink) return
    this.showCursor()
    this.#sink = undefined
    void sink.end()
  }

  /** The connection has gone. */
  detach (sink: SseStream): void {
    if (this.#sink === sink) this.#sink = undefined
  }

  /** Nothing more will be said: ends the connection behind what has been. */
  async finish (): Promise<void> {
    this.#finished = true
    await this.#storing
    // another connection may take over meanwhile
    while (this.#replaying !== undefined) await this.#replaying
    await this.#sink?.end()
  }

  /** Sends what is stored until nothing is left. It goes at the pace of the reader, and holds nothing that the store does not hold. */
  async #replay (store: EventStore, sink: SseStream): Promise<void> {
    let from: EventId | undefined
    // ends when it came no further, though something was stored: the store has dropped it
    while (this.#sink === sink && this.#cursor !== this.#last && this.#cursor !== from) {
      from = this.#cursor
      try {
        await store.replayEventsAfter(from as EventId, {
          send: async (id, message) => {
            if (this.#sink !== sink) throw new Error('the connection has gone')
            this.#cursor = id
            await sink.write({ id, event: 'message', data: Message.from(message).bytes })
          }
        })
      } catch {
        // the client will come back, or the store is down: what comes next is sent all the same
        break
      }
      await this.#storing
    }
    // in the same turn as the last look: what is written from here on goes to the connection directly
    if (this.#late === sink) this.#late = undefined
  }

  #keep (message: JsonRpcMessage, emit: (id: EventId | undefined) => void | Promise<void>): void | Promise<void> {
    const store = this.#store
    if (store === undefined) return message === NOTHING ? undefined : emit(undefined)
    const kept = (id: EventId | undefined): void | Promise<void> => {
      this.#last = id ?? this.#last
      return emit(id)
    }
    // a store that is down loses resumption, no message
    if (this.#storing !== undefined) return this.#after(this.#storing.then(() => tryStore(store, this.id, message)), kept)
    const id = tryStore(store, this.id, message)
    return id instanceof Promise ? this.#after(id, kept) : kept(id)
  }

  /** Goes on when an event is stored. The next waits for that, but not for the reader, whose connection has its own bound. */
  async #after (stored: Promise<EventId | undefined>, kept: (id: EventId | undefined) => void | Promise<void>): Promise<void> {
    const slow: Array<void | Promise<void>> = []
    const storing: Promise<void> = stored.then((id) => {
      slow.push(kept(id))
      if (this.#storing === storing) this.#storing = undefined
    })
    this.#storing = storing
    await storing
    await slow[0]
  }
}

function tryStore (store: EventStore, streamId: string, message: JsonRpcMessage): EventId | undefined | Promise<EventId | undefined> {
  try {
    const id = store.storeEvent(streamId, message)
    return typeof id === 'string' ? id : Promise.resolve(id).catch(() => undefined)
  } catch {
    return undefined
  }
}
