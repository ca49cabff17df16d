import type { Socket } from 'node:net'
import { isWholeHead, MAX_HEAD, workerOfHead } from './head.js'
import { nativeHandle } from './native-handle.js'

/** Connections at once whose first request has not been seen; the oldest makes way for one more. */
const MAX_WAITING = 1000
/** Milliseconds that a connection may take to send a head. */
const PATIENCE = 1000

/** A connection that nobody serves yet, and what was read of it. */
export interface Fresh {
  readonly socket: Socket
  readonly head: Buffer
}

interface Waiting {
  head: Buffer
  readonly timer: NodeJS.Timeout
}

/**
 * Looks at the first request of each connection to find the worker that it is for. Whoever sends none soon, or too much,
 * goes to any worker, which has limits of its own for that: nothing stays here.
 */
export class Acceptor {
  readonly #give: (fresh: Fresh, worker: number | undefined) => void
  /** The oldest comes first. */
  readonly #waiting = new Map<Socket, Waiting>()

  /** @param give takes a connection, for the worker that its request names */
  constructor (give: (fresh: Fresh, worker: number | undefined) => void) {
    this.#give = give
  }

  get waiting (): number { return this.#waiting.size }

  /** @param socket one that is not read yet */
  readonly accept = (socket: Socket): void => {
    // what comes of one that is given away is its worker's
    socket.on('error', () => {})
    if (process.platform === 'win32') {
      // there a read that has begun cannot be taken back: what it gets would be lost
      this.#give({ socket, head: Buffer.alloc(0) }, undefined)
      return
    }
    const [oldest] = this.#waiting.keys()
    if (oldest !== undefined && this.#waiting.size >= MAX_WAITING) this.#release(oldest)
    this.#waiting.set(socket, { head: Buffer.alloc(0), timer: setTimeout(() => this.#release(socket), PATIENCE).unref() })
    socket.on('data', chunk => this.#read(socket, chunk))
    // half a connection can still hear an answer, if it has asked
    socket.once('end', () => this.#release(socket))
    socket.once('close', () => this.#forget(socket))
    socket.resume()
  }

  /** Gives away what has said something; nothing more is to come. */
  close (): void {
    for (const [socket, { head }] of [...this.#waiting]) {
      if (head.length === 0) socket.destroy()
      else this.#release(socket)
    }
  }

  #read (socket: Socket, chunk: Buffer): void {
    const waiting = this.#waiting.get(socket)
    if (waiting === undefined) return
    waiting.head = waiting.head.length === 0 ? chunk : Buffer.concat([waiting.head, chunk])
    if (waiting.head.length >= MAX_HEAD || isWholeHead(waiting.head)) this.#release(socket)
  }

  #release (socket: Socket): void {
    const waiting = this.#forget(socket)
    if (waiting === undefined) return
    socket.removeAllListeners('data').removeAllListeners('end').removeAllListeners('close').pause()
    // a paused socket goes on reading until its buffer is full, and one that was sent to another process until that has
    // answered: what comes then would be lost
    nativeHandle(socket)?.readStop()
    this.#give({ socket, head: waiting.head }, workerOfHead(waiting.head))
  }

  #forget (socket: Socket): Waiting | undefined {
    const waiting = this.#waiting.get(socket)
    clearTimeout(waiting?.timer)
    this.#waiting.delete(socket)
    return waiting
  }
}
