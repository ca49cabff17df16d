/** Milliseconds between two questions. */
const INTERVAL = 5000
/** Questions in a row without an answer after which nobody is thought to be there: half a minute with the interval above. */
const MISSES = 6

export interface PulseOptions {
  /** Asks for a sign of life. */
  readonly ask: () => void
  /** Called once: there has been none for too long. @param silence milliseconds */
  readonly onlost: (silence: number) => void
  /** Milliseconds. @default 5000 */
  readonly interval?: number | undefined
  /** @default 6 */
  readonly misses?: number | undefined
}

/**
 * Notices that another process does not come back to its event loop. Questions are counted, not time: where this process
 * was stopped itself, or the machine was asleep, all are late, and nobody is to blame.
 */
export class Pulse {
  readonly #options: PulseOptions
  readonly #interval: number
  readonly #timer: NodeJS.Timeout
  #asked: number | undefined
  #missed = 0

  constructor (options: PulseOptions) {
    this.#options = options
    this.#interval = options.interval ?? INTERVAL
    this.#timer = setInterval(() => this.tick(), this.#interval).unref()
  }

  /** There was a sign of life. */
  heard (): void {
    this.#missed = 0
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  /** What happens at each interval. @param now milliseconds of any clock that goes on */
  tick (now: number = performance.now()): void {
    const late = this.#asked !== undefined && now - this.#asked > 2 * this.#interval
    this.#asked = now
    const { ask, onlost, misses = MISSES } = this.#options
    // what was asked before this process was held up had no time to be answered, or its answer is not read yet
    if (late) this.#missed = 0
    if (this.#missed >= misses) {
      this.stop()
      onlost(misses * this.#interval)
      return
    }
    this.#missed++
    ask()
  }
}
