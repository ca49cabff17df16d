import { BusySet } from '@mcp-proxy/protocol'
/** What has something to do now and then: an open stream, an exchange without an answer. */
export interface Ticking {
  tick: () => void
  /** Ends at once, whatever is still to be sent. */
  destroy?: () => unknown
}

/** One timer for all streams of an endpoint. */
export class Ticker {
  readonly #members = new BusySet<Ticking>()
  readonly #interval: number
  #timer: NodeJS.Timeout | undefined

  /** @param interval milliseconds; `0` never ticks */
  constructor (interval: number) {
    this.#interval = interval
  }

  add (member: Ticking): void {
    this.#members.add(member)
    if (this.#interval > 0) this.#timer ??= setInterval(() => this.#tick(), this.#interval).unref()
  }

  delete (member: Ticking): void {
    this.#members.delete(member)
  }

  /** Ends all members at once. */
  destroyMembers (): void {
    for (const member of [...this.#members]) member.destroy?.()
  }

  close (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #tick (): void {
    // not when the last member leaves: with one call after the other that would be a timer for each
    if (this.#members.size === 0) this.close()
    for (const member of [...this.#members]) member.tick()
  }
}
