import { setTimeout as wait } from 'node:timers/promises'
import type { DEFAULT_RECONNECT } from './options.js'

/** Milliseconds of the longest pause that a server can ask for. */
const MAX_RETRY = 300_000
/** And of the shortest: a server that wants none, and ends each stream at once, would be asked without end. */
const MIN_RETRY = 100

/** Pauses between attempts: each twice as long as the one before, with some chance in it, so that clients do not come all at once. */
export class Backoff {
  readonly #options: typeof DEFAULT_RECONNECT
  #attempts = 0
  #retry: number | undefined
  #since: number | undefined

  constructor (options: typeof DEFAULT_RECONNECT) {
    this.#options = options
  }

  /** How long the server wants its clients to wait (event stream field `retry`), which they then have to. */
  obey (milliseconds: number): void {
    this.#retry = Math.min(Math.max(milliseconds, MIN_RETRY), MAX_RETRY)
  }

  /** There is a stream. It counts as a success when it says something, or when it lasts. */
  opened (): void {
    this.#since = Date.now()
  }

  /** An attempt has succeeded. */
  reset (): void {
    this.#attempts = 0
  }

  /** Waits for the next attempt; `false` when there is to be none. */
  async pause (signal: AbortSignal): Promise<boolean> {
    const { delay, maxDelay, maxRetries } = this.#options
    if (this.#since !== undefined && Date.now() - this.#since > maxDelay) this.reset()
    this.#since = undefined
    if (signal.aborted || this.#attempts >= maxRetries) return false
    const first = this.#retry ?? delay
    const pause = Math.min(first * 2 ** this.#attempts++, Math.max(maxDelay, first))
    try {
      await wait(pause * (1 + Math.random() / 2), undefined, { signal, ref: false })
      return true
    } catch {
      return false
    }
  }
}
