import type { Message } from '@mcp-proxy/protocol'
import type { BridgeSettings } from './options.js'

/** What a client says while it waits for a child, within the bounds that it will have there. */
export class Backlog {
  readonly messages: Message[]
  readonly #settings: Pick<BridgeSettings, 'maxPendingCalls' | 'maxQueuedInput'>
  #bytes: number

  constructor (settings: Pick<BridgeSettings, 'maxPendingCalls' | 'maxQueuedInput'>, first: Message) {
    this.#settings = settings
    this.messages = [first]
    this.#bytes = first.bytes.length
  }

  /** `false` when there is no room for it. */
  add (message: Message): boolean {
    const { maxPendingCalls, maxQueuedInput } = this.#settings
    if (this.messages.length >= maxPendingCalls || this.#bytes > maxQueuedInput) return false
    this.messages.push(message)
    this.#bytes += message.bytes.length
    return true
  }
}
