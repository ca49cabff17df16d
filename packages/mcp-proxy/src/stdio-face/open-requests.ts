import { CANCELLED_ID, idKey, type Message } from '@mcp-proxy/protocol'

/** It lasts as long as the host wants it. */
const ENDLESS = 'subscriptions/listen'

/** Requests of the host that wait for an answer. */
export class OpenRequests {
  /** How many wait under an id: of two the second is refused, which is an answer too, and not that of the first. */
  readonly #counts = new Map<string, number>()

  /** How many ids have something open. */
  get size (): number { return this.#counts.size }

  /** What the host says. */
  asked (message: Message): void {
    const { kind, method, rawId } = message
    if (method === 'notifications/cancelled') {
      // what is cancelled need not be answered
      this.#counts.delete(idKey(message.raw(CANCELLED_ID) ?? '') ?? '')
    } else if (kind === 'request' && rawId !== undefined) {
      const count = this.#counts.get(rawId) ?? 0
      if (method !== ENDLESS || count > 0) this.#counts.set(rawId, count + 1)
    }
  }

  /** What the host is told. */
  answered ({ kind, rawId }: Message): void {
    if (kind !== 'response' || rawId === undefined) return
    const count = this.#counts.get(rawId)
    if (count === undefined || count === 1) this.#counts.delete(rawId)
    else this.#counts.set(rawId, count - 1)
  }
}
