import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from '../fastify.js'

/** A call that waits for its client to come back. */
export interface Parkable {
  readonly principal: string | undefined
  /** It has a server to itself, which its end gives back: that has not answered yet. */
  readonly busy: boolean
  /** Ends it for good: its client has not come back, or there is no place for it. */
  readonly abandon: () => void
}

interface Parked<Call> {
  readonly call: Call
  readonly timer: NodeJS.Timeout
  /** `Date.now()` at which it was parked. */
  readonly since: number
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
  readonly #calls = new Map<string, Parked<Call>>()

  constructor (options: ParkedCallsOptions) {
    this.#options = options
  }

  get size (): number { return this.#calls.size }

  /**
   * Parks a call, and names it.
   * @param name one that no other has. @default random: never that of a call of another process, a key may be shared by several
   */
  add (call: Call, name: string = randomUUID()): string {
    if (this.#calls.size >= this.#options.max) this.#sacrifice(() => true, 'a parked call makes room for another', call)
    const timer = setTimeout(() => this.#abandon(name, 'a parked call has expired'), this.#options.timeout).unref()
    this.#calls.set(name, { call, timer, since: Date.now() })
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

  /**
   * Somebody needs the server of one: the user who has most of them loses the one that has waited longest. `false` when
   * none has waited for so long.
   * @param age milliseconds that each may wait undisturbed
   */
  yield (age: number): boolean {
    const before = Date.now() - age
    return this.#sacrifice(({ call, since }) => call.busy && since <= before, 'a parked call makes way: its server is needed')
  }

  close (): void {
    for (const name of [...this.#calls.keys()]) this.take(name)?.abandon()
  }

  /** Ends the oldest call, of those that may be ended, of the user who has most of these. `false` when there is none. */
  #sacrifice (may: (parked: Parked<Call>) => boolean, reason: string, newcomer?: { readonly principal: string | undefined }): boolean {
    const candidates = [...this.#calls].filter(([, parked]) => may(parked))
    const counts = new Map<string | undefined, number>()
    if (newcomer !== undefined) counts.set(newcomer.principal, 1)
    for (const [, { call: { principal } }] of candidates) counts.set(principal, (counts.get(principal) ?? 0) + 1)
    let victim: string | undefined
    let most = 0
    for (const [name, { call: { principal } }] of candidates) {
      const count = counts.get(principal) ?? 0
      if (count > most) [victim, most] = [name, count]
    }
    if (victim === undefined) return false
    this.#abandon(victim, reason)
    return true
  }

  #abandon (name: string, reason: string): void {
    const call = this.take(name)
    if (call === undefined) return
    this.#options.log?.info({ parked: this.#calls.size }, reason)
    call.abandon()
  }
}
