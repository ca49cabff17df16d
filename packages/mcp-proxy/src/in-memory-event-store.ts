import { InMemoryEventStore as Store, type EventId, type InMemoryEventStoreOptions, type StreamId } from '@mcp-proxy/endpoint'
import type { JsonRpcMessage } from '@mcp-proxy/protocol'

/**
 * Keeps what was sent on streams in memory, bounded in events, bytes and age. It fits wherever the MCP SDK wants an
 * `EventStore`, whose methods return promises; the one of `@mcp-proxy/endpoint`, which this one holds, answers at once.
 */
export class InMemoryEventStore {
  readonly #store: Store

  constructor (options: InMemoryEventStoreOptions = {}) {
    this.#store = new Store(options)
  }

  /** Events that are kept. */
  get size (): number { return this.#store.size }
  /** Bytes of the messages kept. */
  get bytes (): number { return this.#store.bytes }

  /** Stores a message of a stream; resolves with its id, unique among all streams. */
  async storeEvent (streamId: StreamId, message: JsonRpcMessage): Promise<EventId> {
    return this.#store.storeEvent(streamId, message)
  }

  /**
   * Calls `send` for each event behind the given one, in order, on the same stream; resolves with that stream's id.
   * Rejects when the event is unknown.
   */
  async replayEventsAfter (lastEventId: EventId, handler: { send: (eventId: EventId, message: JsonRpcMessage) => Promise<void> }): Promise<StreamId> {
    return await this.#store.replayEventsAfter(lastEventId, handler)
  }

  /** A stream will never be resumed. */
  forgetStream (streamId: StreamId): void {
    this.#store.forgetStream(streamId)
  }
}
