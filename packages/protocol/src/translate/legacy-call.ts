import { mcpError, type CodedError } from '../errors.js'
import { Message } from '../message.js'
import { declares, missingCapabilities } from './input-capabilities.js'
import { asksForInput, readInputRequired, type InputRequired } from './input-required.js'
import { InputRound } from './input-round.js'
import { stamp } from './stamp.js'
import { VisitedUrls } from './visited-urls.js'
import type { SendOptions } from '../transport.js'
import type { LegacyParty } from './legacy-party.js'
import type { Asker, ModernLink } from './modern-link.js'

/** Times that a server may ask for input in one call. */
export const MAX_INPUT_ROUNDS = 10
/** Milliseconds until the first retry of a call of which the server says only that it has to be retried; each later pause is twice as long. */
const FIRST_PAUSE = 50

export interface LegacyCallOptions {
  readonly party: LegacyParty
  readonly link: ModernLink
  /** `false` when the client can never be asked. */
  readonly answers: boolean
  /** Milliseconds that the client may take to answer what it is asked; `0` is for ever. */
  readonly inputTimeout: number
  /** Called once: the client is owed nothing more. */
  readonly onend: () => void
}

/**
 * One call of a client, however often it has to be put to the server: each time that asks for input, the client is asked,
 * and the call is made anew with its answers (2026-07-28, "Multi Round-Trip Requests").
 */
export class LegacyCall implements Asker {
  upstreamId: string | undefined
  readonly clientId: string
  readonly #request: Message
  readonly #options: LegacyCallOptions
  readonly #elicitations = new VisitedUrls()
  #rounds = 0
  #pause = FIRST_PAUSE
  #timer: NodeJS.Timeout | undefined
  #round: InputRound | undefined

  constructor (request: Message, options: LegacyCallOptions) {
    this.#request = request
    this.#options = options
    this.clientId = request.rawId as string
  }

  start (): void {
    const stamped = stamp(this.#request, this.#options.party.stamps)
    if (stamped === undefined) this.fail(mcpError('MCP_ERR_PARAMS', '"params" and "_meta" must be objects'))
    else this.#options.link.ask(stamped, this)
  }

  answered (message: Message, options: SendOptions | undefined): void | Promise<void> {
    if (asksForInput(message)) {
      this.#require(message)
      return
    }
    // an error says nothing about where the user was sent
    if (!message.failed) this.#tellCompleted(new Set())
    this.#end()
    return this.#options.party.tell(message.rewrite(this.clientId), options && { ...options, relatedRequestId: this.clientId })
  }

  /** The client does not want it any more, which is told to the server in its own words. */
  cancel (notification: Message): void {
    this.#options.link.cancel(this, notification)
    this.#round?.withdraw('the call was cancelled')
    this.#end()
  }

  fail (error: CodedError): void {
    this.#round?.withdraw('the call has failed')
    this.#end()
    this.#options.party.refuse(this.clientId, error)
  }

  /** Neither asks nor waits any more; whoever is left, nobody is told. */
  stop (): void {
    clearTimeout(this.#timer)
    this.#round?.stop()
  }

  #require (message: Message): void {
    let required: InputRequired
    try {
      required = readInputRequired(message, this.#request.method as string)
    } catch (error) {
      this.fail(error as CodedError)
      return
    }
    const { party, answers, inputTimeout } = this.#options
    const { requests, state } = required
    if (++this.#rounds > MAX_INPUT_ROUNDS) {
      this.fail(mcpError('MCP_ERR_INPUT_ROUNDS', MAX_INPUT_ROUNDS))
      return
    }
    const missing = requests.filter(({ capability }) => !answers || !declares(party.declared, capability))
    if (missing.length > 0) {
      this.fail(missingCapabilities(missing.map(({ capability }) => capability)))
      return
    }
    this.#tellCompleted(new Set(requests.map(({ url }) => url)))
    if (requests.length === 0) {
      this.#timer = setTimeout(() => this.#retry(undefined, state), this.#pause).unref()
      this.#pause *= 2
      return
    }
    this.#round = new InputRound(requests, {
      party,
      callId: this.clientId,
      timeout: inputTimeout,
      elicitations: this.#elicitations,
      ondone: responses => this.#retry(responses, state),
      onfail: reason => this.fail(mcpError('MCP_ERR_INPUT', this.#request.method as string, reason)),
    })
    this.#round.start()
  }

  /** The same call once more; what it had said in an earlier round is not part of it. */
  #retry (inputResponses: string | undefined, requestState: string | undefined): void {
    const { link, party } = this.#options
    this.#round = undefined
    const stamped = stamp(this.#request, party.stamps)
    if (stamped !== undefined) link.ask(stamped.edit(['params'], { inputResponses, requestState }), this)
  }

  #tellCompleted (asked: ReadonlySet<string | undefined>): void {
    for (const elicitationId of this.#elicitations.complete(asked)) {
      void this.#options.party.tell(Message.notification('notifications/elicitation/complete', { elicitationId }), { relatedRequestId: this.clientId })
    }
  }

  #end (): void {
    this.stop()
    this.#options.onend()
  }
}
