import { Message } from '../message.js'
import { mcpError, type CodedError } from '../errors.js'
import { stamp } from './stamp.js'
import { toInitializeResult } from './to-initialize-result.js'
import type { SendOptions } from '../transport.js'
import type { LegacyParty } from './legacy-party.js'
import type { Asker, ModernLink } from './modern-link.js'

export interface LegacyHandshakeOptions {
  readonly party: LegacyParty
  readonly link: ModernLink
  readonly serverName: string
  /** The server has said what it is. */
  readonly ondiscovered: (answer: Message) => void
  /** Called once: the client is owed nothing more. */
  readonly onend: () => void
}

/** A client's `initialize`, for which a modern server is asked what it is (2026-07-28, "Discovery"). */
export class LegacyHandshake implements Asker {
  upstreamId: string | undefined
  readonly clientId: string
  readonly #initialize: Message
  readonly #options: LegacyHandshakeOptions

  constructor (initialize: Message, options: LegacyHandshakeOptions) {
    this.#initialize = initialize
    this.#options = options
    this.clientId = initialize.rawId as string
  }

  start (): void {
    const { party, link } = this.#options
    const discover = stamp(Message.request('0', 'server/discover', `{"_meta":${this.#initialize.raw(['params', '_meta']) ?? '{}'}}`), party.stamps)
    if (discover === undefined) this.fail(mcpError('MCP_ERR_PARAMS', '"_meta" must be an object'))
    else link.ask(discover, this)
  }

  answered (message: Message, options: SendOptions | undefined): void | Promise<void> {
    const { party, serverName, ondiscovered, onend } = this.#options
    let answer: Message
    try {
      answer = message.failed ? message.rewrite(this.clientId) : toInitializeResult(message, this.#initialize, serverName)
    } catch (error) {
      this.fail(error as CodedError)
      return
    }
    if (!message.failed) ondiscovered(message)
    onend()
    return party.tell(answer, options && { ...options, relatedRequestId: this.clientId })
  }

  /** It must not be cancelled (2025-11-25, "Cancellation"). */
  cancel (): void {}

  fail (error: CodedError): void {
    this.#options.onend()
    this.#options.party.refuse(this.clientId, error)
  }

  stop (): void {}
}
