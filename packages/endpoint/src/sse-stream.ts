import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { Ticker, Ticking } from './ticker.js'

/** An event as the HTML standard names its parts ("Server-sent events", 9.2.6). */
export interface SseEvent {
  readonly id?: string | undefined
  readonly event?: string | undefined
  /** Must not hold a line break: JSON on one line has none. */
  readonly data: Buffer | string
  /** Milliseconds a client waits before it reconnects. */
  readonly retry?: number | undefined
}

export interface SseStreamOptions {
  /** Bytes queued for a slow reader before the stream is ended. */
  readonly maxQueuedBytes: number
  readonly ticker: Ticker
  /** Called once when the stream has ended, whoever ended it. */
  readonly onclose: () => void
}

/** Bytes queued from which on a sender is asked to wait. */
const HIGH_WATER_MARK = 64 * 1024
/** From this size on data is queued as it is instead of being copied between its frame. */
const LARGE = 16 * 1024
/** Bytes that are handed to the connection at once: what it takes shows whether somebody reads. */
const PIECE = 64 * 1024
/** Milliseconds in which the reader of a stream that ends has to take something. */
const END_PATIENCE = 5000
const OPENING = Buffer.from(':\n\n')
const KEEP_ALIVE = Buffer.from(': keep-alive\n\n')
const END_OF_EVENT = Buffer.from('\n\n')

/**
 * The body of one `text/event-stream` response: a bounded queue that never throws. `reply.send()` drains it, so the app's
 * `onSend` hooks and headers apply and a client that leaves ends it.
 */
export class SseStream extends Readable implements Ticking {
  readonly #options: SseStreamOptions
  #drained: { readonly promise: Promise<void>, readonly resolve: () => void } | undefined
  #finished: Promise<void> = Promise.resolve()
  #ended = false
  /** Chunks that the connection has taken, now and at the last tick. */
  #taken = 0
  #takenAtTick = 0

  constructor (options: SseStreamOptions) {
    super({ highWaterMark: HIGH_WATER_MARK })
    this.#options = options
    options.ticker.add(this)
    this.once('close', () => {
      options.ticker.delete(this)
      this.#release()
      options.onclose()
    })
    // a client that resets the connection is nothing to report
    this.on('error', () => {})
  }

  /** Starts the response. Headers leave with the first bytes, so there must be some: a comment, unless an event follows at once. */
  open (reply: FastifyReply, comment = true): FastifyReply {
    const { raw } = reply
    if (!raw.closed && !raw.destroyed) this.#finished = new Promise(resolve => raw.once('close', resolve))
    if (comment) void this.#queue(OPENING)
    return reply
      .header('content-type', 'text/event-stream')
      .header('cache-control', 'no-cache, no-transform')
      .header('x-accel-buffering', 'no')
      .send(this)
  }

  /** Queues an event. A promise means that the reader is slow: it settles when there is room, or nobody left. */
  write ({ id, event, data, retry }: SseEvent): void | Promise<void> {
    let head = id === undefined ? '' : `id: ${id}\n`
    if (event !== undefined) head += `event: ${event}\n`
    if (retry !== undefined) head += `retry: ${retry}\n`
    head += 'data: '
    if (typeof data === 'string') return this.#queue(Buffer.from(`${head}${data}\n\n`))
    if (data.length < LARGE) return this.#queue(framed(head, data))
    return this.#queue(Buffer.from(head), ...pieces(data), END_OF_EVENT)
  }

  tick (): void {
    const idle = this.#taken === this.#takenAtTick
    this.#takenAtTick = this.#taken
    if (this.readableLength === 0) void this.#queue(KEEP_ALIVE)
    // full, and nothing was taken since the last tick: others may be waiting for this reader
    else if (idle && this.#drained !== undefined) this.destroy()
  }

  /** Ends the response after what is queued; resolves when the connection is done with it. */
  async end (): Promise<void> {
    if (!this.#ended && !this.destroyed) {
      this.#ended = true
      this.push(null)
      this.#release()
    }
    let seen = -1
    // a reader that has stopped would never let it finish; one that is slow may
    const timer = setInterval(() => {
      if (this.#taken === seen) this.destroy()
      seen = this.#taken
    }, END_PATIENCE).unref()
    await this.#finished
    clearInterval(timer)
  }

  override _read (): void {
    this.#release()
  }

  override read (size?: number): unknown {
    const chunk: unknown = super.read(size)
    if (chunk !== null) this.#taken++
    return chunk
  }

  #queue (...chunks: Buffer[]): void | Promise<void> {
    if (this.destroyed || this.#ended) return
    // judged before it is added: one message always fits
    if (this.readableLength > this.#options.maxQueuedBytes) {
      this.destroy()
      return
    }
    let room = true
    for (const chunk of chunks) room = this.push(chunk)
    if (room) return
    this.#drained ??= deferred()
    return this.#drained.promise
  }

  #release (): void {
    this.#drained?.resolve()
    this.#drained = undefined
  }
}

function framed (head: string, data: Buffer): Buffer {
  const start = Buffer.byteLength(head)
  const bytes = Buffer.allocUnsafe(start + data.length + 2)
  bytes.write(head)
  data.copy(bytes, start)
  bytes[bytes.length - 2] = bytes[bytes.length - 1] = 0x0a
  return bytes
}

function pieces (data: Buffer): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at < data.length; at += PIECE) parts.push(data.subarray(at, at + PIECE))
  return parts
}

/** `Promise.withResolvers` of Node 22. */
function deferred (): { promise: Promise<void>, resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>(_resolve => { resolve = _resolve })
  return { promise, resolve }
}
