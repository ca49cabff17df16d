import { BusyMap, Message, type JsonRpcMessage } from '@mcp-proxy/protocol'
import { EventQueue, EventStream, KeptEvent } from './event-queue.js'

export type StreamId = string
export type EventId = string

/**
 * Keeps what was sent on streams so that a client can resume one (2025-11-25, "Resumability and Redelivery").
 * The shape of the MCP SDK's `EventStore`, so any store made for it fits; methods may also answer at once.
 * A message given to it reads like a plain object and serializes with `JSON.stringify`.
 */
export interface EventStore {
  /** Stores a message of a stream and returns its id, unique among all streams. */
  storeEvent: (streamId: StreamId, message: JsonRpcMessage) => EventId | Promise<EventId>
  /**
   * Calls `send` for each event behind the given one, in order, on the same stream; returns that stream's id.
   * Rejects when the event is unknown.
   */
  replayEventsAfter: (lastEventId: EventId, handler: { send: (eventId: EventId, message: JsonRpcMessage) => Promise<void> }) => Promise<StreamId>
  /** A stream will never be resumed: its session has ended. */
  forgetStream?: ((streamId: StreamId) => void | Promise<void>) | undefined
}

export interface InMemoryEventStoreOptions {
  /** Events kept at most; the oldest go first. @default 100_000 */
  maxEvents?: number | undefined
  /** Bytes of messages kept at most; the oldest go first. @default 67_108_864 */
  maxBytes?: number | undefined
  /** Bytes of messages kept for one stream at most: a stream that nobody reads shall not push out all others. @default 4_194_304 */
  maxStreamBytes?: number | undefined
  /** Milliseconds that an event is kept at most. `0` is no limit. @default 1_800_000 */
  maxAge?: number | undefined
}

export const DEFAULT_MAX_EVENTS = 100_000
export const DEFAULT_MAX_EVENT_BYTES: number = 64 * 1024 * 1024

export const DEFAULT_MAX_STREAM_BYTES: number = 4 * 1024 * 1024
export const DEFAULT_MAX_EVENT_AGE: number = 30 * 60 * 1000

/** Separates stream and sequence number in an event id. */
const SEPARATOR = '_'

/**
 * An event store in memory, bounded in events, bytes and age. The event id holds the stream, so an id whose event is
 * gone still tells which stream it was; replay then starts with the oldest event kept.
 */
export class InMemoryEventStore implements EventStore {
  readonly #maxEvents: number
  readonly #maxBytes: number
  readonly #maxStreamBytes: number
  readonly #maxAge: number
  readonly #events = new EventQueue()
  readonly #streams = new BusyMap<StreamId, EventStream>()
  #next = 1

  constructor ({ maxEvents = DEFAULT_MAX_EVENTS, maxBytes = DEFAULT_MAX_EVENT_BYTES, maxStreamBytes = DEFAULT_MAX_STREAM_BYTES, maxAge = DEFAULT_MAX_EVENT_AGE }: InMemoryEventStoreOptions = {}) {
    this.#maxEvents = maxEvents
    this.#maxBytes = maxBytes
    this.#maxStreamBytes = maxStreamBytes
    this.#maxAge = maxAge === 0 ? Infinity : maxAge
  }

  get size (): number { return this.#events.size }
  /** Bytes of the messages kept. */
  get bytes (): number { return this.#events.bytes }

  storeEvent (streamId: StreamId, message: JsonRpcMessage): EventId {
    const number = this.#next++
    let stream = this.#streams.get(streamId)
    if (stream === undefined) {
      stream = new EventStream(streamId)
      this.#streams.set(streamId, stream)
    }
    const event = new KeptEvent(stream, number, message instanceof Message ? message.bytes : Buffer.from(JSON.stringify(message)))
    this.#events.push(event)
    // its oldest go first; the newest stays, however large it is
    while (stream.bytes > this.#maxStreamBytes && stream.first !== event) this.#drop(stream.first)
    this.#evict()
    return streamId + SEPARATOR + number
  }

  async replayEventsAfter (lastEventId: EventId, { send }: { send: (eventId: EventId, message: JsonRpcMessage) => Promise<void> }): Promise<StreamId> {
    this.#evict()
    const at = lastEventId.lastIndexOf(SEPARATOR)
    const streamId = lastEventId.slice(0, at)
    let last = Number(lastEventId.slice(at + 1))
    if (streamId === '' || !(last < this.#next)) throw new Error('unknown event id')
    const behind = (event: KeptEvent | undefined): KeptEvent | undefined => {
      while (event !== undefined && event.number <= last) event = event.later
      return event
    }
    let event = behind(this.#streams.get(streamId)?.first)
    while (event !== undefined) {
      last = event.number
      const message = Message.read(event.message)
      if (message !== undefined) await send(streamId + SEPARATOR + event.number, message)
      // it may have gone meanwhile, and knows its neighbours no more
      event = behind(event.kept ? event.later : this.#streams.get(streamId)?.first)
    }
    return streamId
  }

  forgetStream (streamId: StreamId): void {
    const stream = this.#streams.get(streamId)
    while (stream?.first !== undefined) this.#drop(stream.first)
  }

  #evict (): void {
    const oldest = Date.now() - this.#maxAge
    for (let event = this.#events.first; event !== undefined; event = this.#events.first) {
      if (this.#events.size <= this.#maxEvents && this.#events.bytes <= this.#maxBytes && event.at >= oldest) return
      this.#drop(event)
    }
  }

  #drop (event: KeptEvent | undefined): void {
    if (event === undefined) return
    this.#events.drop(event)
    if (event.stream.first === undefined) this.#streams.delete(event.stream.id)
  }
}
