/** A bounded number of places; who finds none waits in line, for a while. */
export class Slots {
  readonly #max: number
  readonly #timeout: number
  readonly #queue: Array<(granted: boolean) => void> = []
  #taken = 0

  /** @param timeout milliseconds that somebody waits at most */
  constructor (max: number, timeout: number) {
    this.#max = max
    this.#timeout = timeout
  }

  /** Called when a place has become free that nobody waits for in line. */
  onfree: () => void = () => {}

  get taken (): number { return this.#taken }
  get full (): boolean { return this.#taken >= this.#max }
  get waiting (): number { return this.#queue.length }

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
        this.#queue.splice(this.#queue.indexOf(settle), 1)
        resolve(false)
      }, this.#timeout)
      this.#queue.push(settle)
    })
  }

  /** Gives a place back; who has waited longest gets it. */
  give (): void {
    const next = this.#queue.shift()
    if (next !== undefined) {
      next(true)
      return
    }
    this.#taken--
    this.onfree()
  }
}
