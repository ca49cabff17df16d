import type { Mux } from './mux.js'
import type { Kind } from './warm-pool.js'

/** A call that waits for a child. */
export class Waiter {
  readonly kind: Kind
  /** The user that the call is of. */
  readonly owner: string | undefined
  /** `Date.now()` from which on it waits. */
  readonly since: number = Date.now()
  /** A child, or nothing when none came in time or when none is wanted any more; rejects when one could not be started. */
  readonly mux: Promise<Mux | undefined>
  readonly #onleave: (waiter: Waiter) => void
  #resolve: (mux: Mux | undefined) => void = () => {}
  #reject: (error: unknown) => void = () => {}
  #waits = true
  #placed = false
  #timer: NodeJS.Timeout | undefined
  #signal: AbortSignal | undefined

  /** @param onleave it does not stand in the queue any more */
  constructor (kind: Kind, owner: string | undefined, onleave: (waiter: Waiter) => void) {
    this.kind = kind
    this.owner = owner
    this.#onleave = onleave
    this.mux = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /**
   * Has it wait, where it did not get a child at once: for others no timer and no signal is made.
   * @param timeout milliseconds in the queue
   * @param wanted asked for the signal that says that a child is not wanted any more
   */
  wait (timeout: number, wanted: (() => AbortSignal) | undefined): void {
    if (!this.#waits) return
    if (!this.#placed) this.#timer = setTimeout(this.#leave, timeout)
    this.#signal = wanted?.()
    this.#signal?.addEventListener('abort', this.#leave)
  }

  /** Takes the child, or nothing; `false` when nobody waits any more. */
  settle (mux: Mux | undefined): boolean {
    if (!this.#done()) return false
    this.#resolve(mux)
    return true
  }

  fail (error: unknown): void {
    if (this.#done()) this.#reject(error)
  }

  /** It has a place: from now on the time of the start counts, not that of the queue. */
  placed (): void {
    this.#placed = true
    clearTimeout(this.#timer)
    this.#onleave(this)
  }

  #done (): boolean {
    if (!this.#waits) return false
    this.#waits = false
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#leave)
    if (!this.#placed) this.#onleave(this)
    return true
  }

  readonly #leave = (): void => { this.settle(undefined) }
}

/** Calls that wait for children, in their order. */
export class LeaseQueue {
  readonly #waiters: Waiter[] = []

  get size (): number { return this.#waiters.length }
  get first (): Waiter | undefined { return this.#waiters[0] }
  /** `Date.now()` from which on the first waits; `Infinity` when nobody does. */
  get since (): number { return this.#waiters[0]?.since ?? Infinity }

  join (kind: Kind, owner: string | undefined): Waiter {
    const waiter = new Waiter(kind, owner, left => this.#remove(left))
    this.#waiters.push(waiter)
    return waiter
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
