import type { Message } from '../message.js'

/** Messages kept for one reader. */
const MAX_MESSAGES = 100
/** Bytes kept for one reader. */
const MAX_BYTES = 256 * 1024

/** What is said while nobody listens. Bounded: the oldest goes first. */
export class KeptMessages {
  #messages: Message[] = []
  #bytes = 0

  add (message: Message): void {
    this.#messages.push(message)
    this.#bytes += message.bytes.length
    while (this.#messages.length > MAX_MESSAGES || this.#bytes > MAX_BYTES) this.#bytes -= this.#messages.shift()?.bytes.length ?? 0
  }

  /** All of them, in their order; none is kept any more. */
  take (): Message[] {
    const messages = this.#messages
    this.#messages = []
    this.#bytes = 0
    return messages
  }
}
