import type { Message } from '@mcp-proxy/protocol'

/** Messages that wait to be sent. A party that says more while the server says nothing is not listened to. */
const MAX_WAITING = 10_000

export interface OutboxOptions {
  /** Sends one; never rejects. */
  readonly send: (message: Message) => Promise<void>
  /** Nothing is sent before this one has arrived. */
  readonly blocks: (message: Message) => boolean
  /** There was no room for it. */
  readonly ondrop: (message: Message) => void
}

/**
 * Messages on their way, each in an HTTP request of its own, which may overtake each other: what others build on, such as
 * a notification, is waited for.
 */
export class Outbox {
  readonly #options: OutboxOptions
  #waiting: Message[] = []
  #held = false
  #blocked = false

  constructor (options: OutboxOptions) {
    this.#options = options
  }

  get size (): number { return this.#waiting.length }

  add (message: Message): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#options.ondrop(message)
      return
    }
    this.#waiting.push(message)
    this.#send()
  }

  /** Keeps what comes until {@link release}. */
  hold (): void {
    this.#held = true
  }

  release (): void {
    this.#held = false
    this.#send()
  }

  /** Takes back a message that has not arrived. */
  unshift (message: Message): void {
    this.#waiting.unshift(message)
    this.#send()
  }

  /** All that wait; none does any more. */
  take (): Message[] {
    return this.#waiting.splice(0)
  }

  #send (): void {
    while (!this.#held && !this.#blocked) {
      const message = this.#waiting.shift()
      if (message === undefined) return
      const sent = this.#options.send(message)
      if (!this.#options.blocks(message)) continue
      this.#blocked = true
      void sent.finally(() => {
        this.#blocked = false
        this.#send()
      })
    }
  }
}
