import { Message, type JsonRpcMessage } from '@mcp-proxy/protocol'

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

interface Stream {
  readonly events: Map<EventId, StoredEvent>
  bytes: number
}

interface StoredEvent { readonly streamId: StreamId, readonly bytes: Buffer, readonly at: number }

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
  /** All events, oldest first. */
  readonly #events = new Map<EventId, StoredEvent>()
  /** The same, by stream: a replay looks at no other stream's. */
  readonly #streams = new Map<StreamId, Stream>()
  #bytes = 0
  #next = 1

  constructor ({ maxEvents = DEFAULT_MAX_EVENTS, maxBytes = DEFAULT_MAX_EVENT_BYTES, maxStreamBytes = DEFAULT_MAX_STREAM_BYTES, maxAge = DEFAULT_MAX_EVENT_AGE }: InMemoryEventStoreOptions = {}) {
    this.#maxEvents = maxEvents
    this.#maxBytes = maxBytes
    this.#maxStreamBytes = maxStreamBytes
    this.#maxAge = maxAge === 0 ? Infinity : maxAge
  }

  get size (): number { return this.#events.size }
  /** Bytes of the messages kept. */
  get bytes (): number { return this.#bytes }

  storeEvent (streamId: StreamId, message: JsonRpcMessage): EventId {
    const id = streamId + SEPARATOR + this.#next++
    const bytes = message instanceof Message ? unshared(message.bytes) : Buffer.from(JSON.stringify(message))
    const event: StoredEvent = { streamId, bytes, at: Date.now() }
    const stream = this.#streams.get(streamId) ?? { events: new Map(), bytes: 0 }
    this.#streams.set(streamId, stream)
    stream.events.set(id, event)
    stream.bytes += bytes.length
    this.#events.set(id, event)
    this.#bytes += bytes.length
    this.#trim(stream, id)
    this.#evict()
    return id
  }

  async replayEventsAfter (lastEventId: EventId, { send }: { send: (eventId: EventId, message: JsonRpcMessage) => Promise<void> }): Promise<StreamId> {
    this.#evict()
    const streamId = lastEventId.slice(0, lastEventId.lastIndexOf(SEPARATOR))
    const last = sequence(lastEventId)
    if (streamId === '' || !(last < this.#next)) throw new Error('unknown event id')
    for (const [id, event] of this.#streams.get(streamId)?.events ?? []) {
      if (sequence(id) <= last) continue
      const message = Message.read(event.bytes)
      if (message !== undefined) await send(id, message)
    }
    return streamId
  }

  forgetStream (streamId: StreamId): void {
    for (const id of this.#streams.get(streamId)?.events.keys() ?? []) this.#drop(id)
  }

  /** Its oldest go first; the newest stays, however large it is. */
  #trim (stream: Stream, newest: EventId): void {
    for (const id of stream.events.keys()) {
      if (stream.bytes <= this.#maxStreamBytes || id === newest) return
      this.#drop(id)
    }
  }

  #evict (): void {
    const oldest = Date.now() - this.#maxAge
    for (const [id, { at }] of this.#events) {
      if (this.#events.size <= this.#maxEvents && this.#bytes <= this.#maxBytes && at >= oldest) return
      this.#drop(id)
    }
  }

  #drop (id: EventId): void {
    const event = this.#events.get(id)
    if (event === undefined) return
    this.#events.delete(id)
    this.#bytes -= event.bytes.length
    const stream = this.#streams.get(event.streamId)
    if (stream === undefined) return
    stream.events.delete(id)
    stream.bytes -= event.bytes.length
    if (stream.events.size === 0) this.#streams.delete(event.streamId)
  }
}

function sequence (id: EventId): number {
  return Number(id.slice(id.lastIndexOf(SEPARATOR) + 1))
}

/** The bytes by themselves: often they are a small part of a buffer that would be kept alive whole. */
function unshared (bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= 2 * bytes.length) return bytes
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}
