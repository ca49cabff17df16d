import { Restarts, type RestartPolicy } from './restarts.js'
import type { Mux } from './mux.js'

/**
 * Milliseconds between the first answer of a client's own child, or the start of a spare, and the start of the next spare:
 * it competes with no handshake or first call for the processor, and clients that come and go in masses start few.
 */
const START_DELAY = 100

export interface SparesOptions {
  /** Children that wait at most. */
  readonly size: number
  /** Milliseconds without a client of their kind after which they end; `0` is never. */
  readonly idleTimeout: number
  readonly restart: RestartPolicy
  /** Takes a place for a child; `false` when none is to be had, or somebody else waits for it. */
  readonly takePlace: () => boolean
  /** Makes a mux in that place. `onlost`: its child has died before a client came. `onanswered`: it has answered its client. */
  readonly open: (handler: { readonly onlost: () => void, readonly onanswered: () => void }) => Mux
}

/**
 * Children that have been started and wait for clients that get one of their own. Nothing has been said to them: a server
 * hears `initialize` once, and from its client. They stand behind everything else: one that makes way is not replaced
 * before another client has come.
 */
export class Spares {
  readonly #options: SparesOptions
  readonly #restarts: Restarts
  /** The one that was started first comes first. */
  readonly #muxes = new Set<Mux>()
  /** A client has come, and the next may. */
  #wanted = false
  #next: NodeJS.Timeout | undefined
  #idle: NodeJS.Timeout | undefined
  #closed = false

  constructor (options: SparesOptions) {
    this.#options = options
    this.#restarts = new Restarts(options.restart)
  }

  get muxes (): ReadonlySet<Mux> { return this.#muxes }

  /** The child of a client of its own has answered: another such client may come. */
  want (): void {
    const { size, idleTimeout } = this.#options
    if (this.#closed || size === 0) return
    this.#wanted = true
    if (idleTimeout > 0) {
      this.#idle ??= setTimeout(() => this.#rest(), idleTimeout).unref()
      this.#idle.refresh()
    }
    this.resume()
  }

  /** A place may have become free. */
  resume (): void {
    if (!this.#wanted || this.#next !== undefined || this.#muxes.size >= this.#options.size) return
    const wait = this.#restarts.blockedFor(Date.now()) || this.#restarts.backOff()
    this.#next = setTimeout(() => this.#start(), Math.max(START_DELAY, wait)).unref()
  }

  /** One for a client, which has its place with it; `undefined` when none is ready. */
  take (): Mux | undefined {
    for (const mux of this.#muxes) {
      this.forget(mux)
      // its end may be known before it is reported, which waits for its last words
      if (mux.child?.running === true) return mux
      void mux.close()
    }
    return undefined
  }

  /** Ends one because its place is wanted; `false` when there is none. */
  yield (): boolean {
    const [mux] = this.#muxes
    if (mux === undefined) return false
    this.#unwant()
    void mux.close()
    return true
  }

  /** One is closing, for whatever reason. */
  forget (mux: Mux): void {
    this.#muxes.delete(mux)
  }

  /** Starts no more. Those that wait are ended by whoever opened them. */
  close (): void {
    this.#closed = true
    this.#unwant()
    clearTimeout(this.#idle)
  }

  #start (): void {
    this.#next = undefined
    if (!this.#wanted || this.#muxes.size >= this.#options.size || !this.#options.takePlace()) return
    const mux = this.#options.open({
      onlost: () => this.#lost(mux),
      onanswered: () => {
        this.#restarts.worked()
        this.want()
      },
    })
    this.#muxes.add(mux)
    mux.prepare()
    this.resume()
  }

  #lost (mux: Mux): void {
    if (!this.#muxes.has(mux)) return
    // what does not wait for its client is not tried for ever
    if (this.#restarts.lost(Date.now())) this.#unwant()
    void mux.close()
    this.resume()
  }

  /** No client has come for long: the next starts anew. */
  #rest (): void {
    this.#unwant()
    for (const mux of this.#muxes) void mux.close()
  }

  #unwant (): void {
    this.#wanted = false
    clearTimeout(this.#next)
    this.#next = undefined
  }
}
