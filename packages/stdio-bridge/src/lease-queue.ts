import type { Mux } from './mux.js'
import type { Kind } from './warm-pool.js'

/** A call that waits for a child. */
export interface Waiter {
  readonly kind: Kind
  /** The user that the call is of. */
  readonly owner: string | undefined
  /** `Date.now()` from which on it waits. */
  readonly since: number
  /** Takes the child, or nothing; `false` when nobody waits any more. */
  readonly settle: (mux: Mux | undefined) => boolean
  readonly fail: (error: unknown) => void
  /** It has a place: from now on the time of the start counts, not that of the queue. */
  readonly placed: () => void
}

/** Calls that wait for children, in their order. */
export class LeaseQueue {
  readonly #timeout: number
  readonly #waiters: Waiter[] = []

  /** @param timeout milliseconds that a call waits at most */
  constructor (timeout: number) {
    this.#timeout = timeout
  }

  get size (): number { return this.#waiters.length }
  get first (): Waiter | undefined { return this.#waiters[0] }
  /** `Date.now()` from which on the first waits; `Infinity` when nobody does. */
  get since (): number { return this.#waiters[0]?.since ?? Infinity }

  /**
   * Joins the queue. Settles with a child, or with nothing when none came in time or when the signal says that none is
   * wanted any more; rejects when a child could not be started.
   */
  join (kind: Kind, owner: string | undefined, signal: AbortSignal | undefined): Promise<Mux | undefined> {
    return new Promise((resolve, reject) => {
      let waits = true
      const done = (): boolean => {
        if (!waits) return false
        waits = false
        clearTimeout(timer)
        signal?.removeEventListener('abort', leave)
        this.#remove(waiter)
        return true
      }
      const waiter: Waiter = {
        kind,
        owner,
        since: Date.now(),
        settle: (mux) => {
          if (!done()) return false
          resolve(mux)
          return true
        },
        fail: (error) => { if (done()) reject(error) },
        placed: () => {
          clearTimeout(timer)
          this.#remove(waiter)
        },
      }
      const leave = (): void => { waiter.settle(undefined) }
      const timer = setTimeout(leave, this.#timeout)
      signal?.addEventListener('abort', leave)
      this.#waiters.push(waiter)
    })
  }

  /** Sends everybody away. */
  close (): void {
    for (const waiter of [...this.#waiters]) waiter.settle(undefined)
  }

  #remove (waiter: Waiter): void {
    const index = this.#waiters.indexOf(waiter)
    if (index !== -1) this.#waiters.splice(index, 1)
  }
}
