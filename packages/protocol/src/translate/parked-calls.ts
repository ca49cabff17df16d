import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from '../fastify.js'

/** A call that waits for its client to come back. */
export interface Parkable {
  readonly principal: string | undefined
  /** Ends it for good: its client has not come back, or there is no place for it. */
  readonly abandon: () => void
}

export interface ParkedCallsOptions {
  /** Calls at once. */
  readonly max: number
  /** Milliseconds that a call is kept. */
  readonly timeout: number
  readonly log: FastifyBaseLogger | undefined
}

/**
 * Calls whose clients have been asked something. Each has a name that is good for one round. Bounded: when all places
 * are taken, the user who has most of them loses the one that has waited longest.
 */
export class ParkedCalls<Call extends Parkable> {
  readonly #options: ParkedCallsOptions
  /** The one that has waited longest comes first. */
  readonly #calls = new Map<string, { readonly call: Call, readonly timer: NodeJS.Timeout }>()

  constructor (options: ParkedCallsOptions) {
    this.#options = options
  }

  get size (): number { return this.#calls.size }

  /**
   * Parks a call, and names it.
   * @param name one that no other has. @default random: never that of a call of another process, a key may be shared by several
   */
  add (call: Call, name: string = randomUUID()): string {
    if (this.#calls.size >= this.#options.max) this.#makeRoom(call.principal)
    const timer = setTimeout(() => this.#abandon(name, 'a parked call has expired'), this.#options.timeout).unref()
    this.#calls.set(name, { call, timer })
    return name
  }

  has (name: string): boolean {
    return this.#calls.has(name)
  }

  /** The call of that name, which is not parked any more. */
  take (name: string): Call | undefined {
    const parked = this.#calls.get(name)
    if (parked === undefined) return undefined
    clearTimeout(parked.timer)
    this.#calls.delete(name)
    return parked.call
  }

  close (): void {
    for (const name of [...this.#calls.keys()]) this.take(name)?.abandon()
  }

  #makeRoom (newcomer: string | undefined): void {
    const counts = new Map<string | undefined, number>([[newcomer, 1]])
    for (const { call: { principal } } of this.#calls.values()) counts.set(principal, (counts.get(principal) ?? 0) + 1)
    let victim: string | undefined
    let most = 0
    for (const [name, { call: { principal } }] of this.#calls) {
      const count = counts.get(principal) ?? 0
      if (count > most) [victim, most] = [name, count]
    }
    if (victim !== undefined) this.#abandon(victim, 'a parked call makes room for another')
  }

  #abandon (name: string, reason: string): void {
    const call = this.take(name)
    if (call === undefined) return
    this.#options.log?.info({ parked: this.#calls.size }, reason)
    call.abandon()
  }
}
