/** When a child that was lost may be started again. */
export interface RestartPolicy {
  /** Milliseconds before the second start in a row; doubles from there on. The first follows at once. */
  readonly delay: number
  /** Milliseconds at most. */
  readonly maxDelay: number
  /** Losses in a row without a single answered call after which nothing is started for a while. */
  readonly maxFailures: number
  /** Milliseconds of that while. */
  readonly coolDown: number
}

/**
 * Exponential back-off with jitter, and a breaker for crash loops. A child that has answered a call was of use: the count
 * starts anew.
 */
export class Restarts {
  readonly #policy: RestartPolicy
  readonly #random: () => number
  #failures = 0
  #total = 0
  #openUntil = 0

  constructor (policy: RestartPolicy, random: () => number = Math.random) {
    this.#policy = policy
    this.#random = random
  }

  /** Children lost so far. */
  get total (): number { return this.#total }
  get failures (): number { return this.#failures }

  /** A child was lost, or did not come up. `true` when that has opened the breaker. */
  lost (now: number): boolean {
    this.#total++
    this.#failures++
    if (this.#failures < this.#policy.maxFailures) return false
    this.#openUntil = now + this.#policy.coolDown
    return true
  }

  /** The child has answered a call. */
  worked (): void {
    this.#failures = 0
    this.#openUntil = 0
  }

  /** Milliseconds until something may be started while the breaker is open; else 0. After that one start is tried. */
  blockedFor (now: number): number {
    return Math.max(0, this.#openUntil - now)
  }

  /** Milliseconds to wait before the next start. */
  backOff (): number {
    if (this.#failures <= 1) return 0
    const full = Math.min(this.#policy.maxDelay, this.#policy.delay * 2 ** (this.#failures - 2))
    // jitter: the children of many sessions shall not come back in one moment
    return Math.round(full * (0.5 + this.#random() / 2))
  }
}
