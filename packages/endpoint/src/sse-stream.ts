import type { FastifyReply } from 'fastify'
import { ChunkQueue } from './chunk-queue.js'
import { hasLeft, onOver } from './departure.js'
import { SseBody } from './sse-body.js'
import { KEEP_ALIVE, OPENING, frame, type SseEvent } from './sse-frame.js'
import type { Ticker, Ticking } from './ticker.js'

export interface SseStreamOptions {
  /** Bytes queued for a slow reader before the stream is ended. */
  readonly maxQueuedBytes: number
  readonly ticker: Ticker
  /** Called once when the stream has ended, whoever ended it. */
  readonly onclose: () => void
}

/** Takes bytes to the client: the response itself, or a body that hooks may have put something around. */
export interface Carrier {
  /** `false`: enough until it emits `drain`. */
  write: (chunk: Buffer) => boolean
  once: (event: 'drain', listener: () => void) => unknown
  end: () => unknown
  destroy: () => unknown
}

/** Bytes queued from which on a sender is asked to wait. */
const HIGH_WATER_MARK = 64 * 1024
/** Milliseconds in which the reader of a stream that ends has to take something. */
const END_PATIENCE = 5000

/**
 * One `text/event-stream` response: a bounded queue that never throws. Its head is that of the reply, so the app's
 * headers and `onSend` hooks apply, and a client that leaves ends it.
 */
export class SseStream implements Ticking {
  readonly #options: SseStreamOptions
  #response: FastifyReply['raw'] | undefined
  /** `undefined` until the hooks of the app have run. */
  #carrier: Carrier | undefined
  /** The carrier takes more. */
  #ready = false
  /** What it has not taken. */
  #queue: ChunkQueue | undefined
  #drained: Deferred | undefined
  /** Nothing more is written. */
  #ended = false
  /** Nothing more is sent. */
  #destroyed = false
  #closed = false
  #whenClosed: Deferred | undefined
  /** Chunks that the carrier has taken, now and at the last tick. */
  #taken = 0
  #takenAtTick = 0

  constructor (options: SseStreamOptions) {
    this.#options = options
    options.ticker.add(this)
  }

  get response (): FastifyReply['raw'] | undefined { return this.#response }
  get carrier (): Carrier | undefined { return this.#carrier }

  /** Starts the response. Headers leave with the first bytes, so there must be some: a comment, unless an event follows at once. */
  open (reply: FastifyReply, comment = true): void {
    const { raw } = reply
    this.#response = raw
    if (hasLeft(reply)) this.destroy()
    else onOver(reply, () => this.#close())
    if (comment) void this.#put(OPENING)
    reply
      .header('content-type', 'text/event-stream')
      .header('cache-control', 'no-cache, no-transform')
      .header('x-accel-buffering', 'no')
      .send(new SseBody(this))
  }

  /** The head is decided: from here on it goes this way. */
  carriedBy (carrier: Carrier): void {
    this.#carrier = carrier
    if (this.#destroyed) carrier.destroy()
    else this.#resume()
  }

  /** Queues an event. A promise means that the reader is slow: it settles when there is room, or nobody left. */
  write (event: SseEvent): void | Promise<void> {
    return this.#put(frame(event))
  }

  tick (): void {
    const idle = this.#taken === this.#takenAtTick
    this.#takenAtTick = this.#taken
    if (this.#queue === undefined) void this.#put(KEEP_ALIVE)
    // full, and nothing was taken since the last tick: others may be waiting for this reader
    else if (idle && this.#drained !== undefined) this.destroy()
  }

  /** Ends the response after what is queued; resolves when the connection is done with it. */
  async end (): Promise<void> {
    if (!this.#ended && !this.#destroyed) {
      this.#ended = true
      this.#release()
      if (this.#queue === undefined) this.#carrier?.end()
    }
    if (this.#response === undefined || this.#closed) return
    let seen = -1
    // a reader that has stopped would never let it finish; one that is slow may
    const timer = setInterval(() => {
      if (this.#taken === seen) this.destroy()
      seen = this.#taken
    }, END_PATIENCE).unref()
    this.#whenClosed ??= deferred()
    await this.#whenClosed.promise
    clearInterval(timer)
  }

  /** Ends it at once, whatever is still to be sent. */
  destroy (): void {
    if (this.#destroyed) return
    this.#destroyed = true
    this.#queue = undefined
    this.#carrier?.destroy()
    this.#response?.destroy()
    // never amid a write of somebody who would be told
    process.nextTick(() => this.#close())
  }

  #put (framed: Buffer | Buffer[]): void | Promise<void> {
    if (this.#destroyed || this.#ended) return
    // judged before it is added: one message always fits
    if (this.#queue !== undefined && this.#queue.bytes > this.#options.maxQueuedBytes) {
      this.destroy()
      return
    }
    if (Buffer.isBuffer(framed)) this.#pass(framed)
    else for (const piece of framed) this.#pass(piece)
    if (this.#queue === undefined || this.#queue.bytes < HIGH_WATER_MARK) return
    this.#drained ??= deferred()
    return this.#drained.promise
  }

  #pass (chunk: Buffer): void {
    if (this.#ready) this.#take(chunk)
    else (this.#queue ??= new ChunkQueue()).push(chunk)
  }

  #take (chunk: Buffer): void {
    this.#taken++
    this.#ready = this.#carrier?.write(chunk) ?? false
    if (!this.#ready) this.#carrier?.once('drain', () => this.#resume())
  }

  #resume (): void {
    this.#ready = true
    const queue = this.#queue
    while (this.#ready) {
      const chunk = queue?.shift()
      if (chunk === undefined) {
        this.#queue = undefined
        if (this.#ended) this.#carrier?.end()
        break
      }
      this.#take(chunk)
    }
    if (this.#queue === undefined || this.#queue.bytes < HIGH_WATER_MARK) this.#release()
  }

  /** Nobody is left, whoever ended it. */
  #close (): void {
    if (this.#closed) return
    this.#closed = this.#destroyed = true
    this.#queue = undefined
    this.#options.ticker.delete(this)
    this.#release()
    this.#whenClosed?.resolve()
    this.#options.onclose()
  }

  #release (): void {
    this.#drained?.resolve()
    this.#drained = undefined
  }
}

interface Deferred {
  readonly promise: Promise<void>
  readonly resolve: () => void
}

/** `Promise.withResolvers` of Node 22. */
function deferred (): Deferred {
  let resolve = (): void => {}
  const promise = new Promise<void>(_resolve => { resolve = _resolve })
  return { promise, resolve }
}
