interface Waiter {
  /** `Date.now()` from which on it waits. */
  readonly since: number
  readonly settle: (granted: boolean) => void
}

/** A bounded number of places; who finds none waits in line, for a while. */
export class Slots {
  readonly #max: number
  readonly #timeout: number
  readonly #queue: Waiter[] = []
  #taken = 0

  /** @param timeout milliseconds that somebody waits at most */
  constructor (max: number, timeout: number) {
    this.#max = max
    this.#timeout = timeout
  }

  /** Called when a place has become free that nobody here waits for, or nobody for longer than there. */
  onfree: () => void = () => {}
  /** `Date.now()` from which on somebody waits in a line of whoever `onfree` tells; `Infinity` when nobody does. */
  elsewhereSince: () => number = () => Infinity

  get taken (): number { return this.#taken }
  get full (): boolean { return this.#taken >= this.#max }
  get waiting (): number { return this.#queue.length }
  /** `Date.now()` from which on the first waits; `Infinity` when nobody does. */
  get waitingSince (): number { return this.#queue[0]?.since ?? Infinity }

  /** Takes a place if one is free. */
  tryTake (): boolean {
    if (this.full) return false
    this.#taken++
    return true
  }

  /** Takes a place. `true` at once where one is free; else a promise of whether one became free in time. */
  take (): true | Promise<boolean> {
    if (this.tryTake()) return true
    return new Promise((resolve) => {
      const settle = (granted: boolean): void => {
        clearTimeout(timer)
        resolve(granted)
      }
      const timer = setTimeout(() => {
        this.#queue.splice(this.#queue.indexOf(waiter), 1)
        resolve(false)
      }, this.#timeout)
      const waiter: Waiter = { since: Date.now(), settle }
      this.#queue.push(waiter)
    })
  }

  /** Gives a place back; who has waited longest gets it. */
  give (): void {
    this.#taken--
    if (this.#queue.length === 0 || this.elsewhereSince() < this.waitingSince) this.onfree()
    if (this.#queue.length > 0 && this.tryTake()) this.#queue.shift()?.settle(true)
  }
}
