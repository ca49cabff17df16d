import { CANCELLED_ID, Message, mcpError, type CodedError } from '@mcp-proxy/protocol'
import { endedError, toCoded } from './coded.js'
import type { Party } from './party.js'
import type { RemoteSettings } from './options.js'

/** Who has made a request that the party has not. */
export interface OwnCall {
  readonly resolve: (answer: Message) => void
  readonly reject: (error: CodedError) => void
}

/** A request that waits for its answer. */
export interface Call {
  readonly rawId: string
  readonly message: Message
  /** Aborted when the answer is not waited for any more. */
  readonly controller: AbortController
  /** Takes the answer in the party's place: a request of our own. */
  readonly own?: OwnCall | undefined
  timer?: NodeJS.Timeout | undefined
}

export interface CallsOptions {
  readonly party: Party
  readonly settings: RemoteSettings
  /** A call has waited too long, and was refused. */
  readonly ontimeout: (call: Call) => void
}

/** The open requests of one party, by their raw ids. */
export class Calls {
  readonly #options: CallsOptions
  readonly #open = new Map<string, Call>()
  #lastOwn = 0

  constructor (options: CallsOptions) {
    this.#options = options
  }

  get size (): number { return this.#open.size }

  has (rawId: string): boolean {
    return this.#open.has(rawId)
  }

  get (rawId: string): Call | undefined {
    return this.#open.get(rawId)
  }

  /** Whether it still waits for its answer. */
  isOpen (call: Call): boolean {
    return this.#open.get(call.rawId) === call
  }

  values (): Call[] {
    return [...this.#open.values()]
  }

  /**
   * Takes a request of the party; `undefined` when it was refused.
   * @param endless it lasts until somebody ends it
   */
  open (message: Message, endless: boolean = false): Call | undefined {
    const { party, settings: { maxCalls } } = this.#options
    const rawId = message.rawId as string
    const refusal = this.#open.has(rawId) ? mcpError('MCP_ERR_ID_IN_USE', rawId) : this.#open.size >= maxCalls ? mcpError('MCP_ERR_CALL_LIMIT', maxCalls) : undefined
    if (refusal === undefined) return this.#add({ rawId, message, controller: new AbortController() }, endless)
    party.refuse(rawId, refusal)
    return undefined
  }

  /** A request of our own, under an id that the party does not use. */
  openOwn (make: (rawId: string) => Message, own: OwnCall): Call {
    let rawId: string
    do rawId = `"mcp-proxy-${++this.#lastOwn}"`
    while (this.#open.has(rawId))
    return this.#add({ rawId, message: make(rawId), controller: new AbortController(), own }, false)
  }

  /** It has its answer, or is not to have one. */
  take (rawId: string): Call | undefined {
    const call = this.#open.get(rawId)
    clearTimeout(call?.timer)
    this.#open.delete(rawId)
    return call
  }

  /** Gives one its answer. A promise where the party reads slowly. */
  answer (call: Call, message: Message): void | Promise<void> {
    this.take(call.rawId)
    if (call.own === undefined) return this.#options.party.tell(message)
    call.own.resolve(message)
  }

  /** Ends one that is still open with an error. */
  fail (call: Call, error: CodedError): void {
    if (!this.isOpen(call)) return
    this.take(call.rawId)
    if (call.own === undefined) this.#options.party.refuse(call.rawId, error)
    else call.own.reject(error)
  }

  /** Has somebody get the answer of a call, which fails when none has come of that. */
  async run (call: Call, exchange: () => Promise<void>): Promise<void> {
    const { settings } = this.#options
    try {
      await exchange()
      this.fail(call, endedError(settings))
    } catch (error) {
      this.fail(call, toCoded(error, settings))
    }
  }

  /** Nothing is expected any more. */
  stop (): void {
    for (const call of this.values()) {
      this.take(call.rawId)
      call.controller.abort()
      call.own?.reject(mcpError('MCP_ERR_STOPPED'))
    }
  }

  #add (call: Call, endless: boolean): Call {
    const { requestTimeout } = this.#options.settings
    this.#open.set(call.rawId, call)
    if (requestTimeout > 0 && !endless) {
      call.timer = setTimeout(() => {
        this.fail(call, mcpError('MCP_ERR_REQUEST_TIMEOUT', requestTimeout))
        this.#options.ontimeout(call)
      }, requestTimeout).unref()
    }
    return call
  }
}

/** Tells the server that an answer is not waited for any more. */
export function cancellation ({ rawId }: Call): Message {
  return Message.notification('notifications/cancelled', { requestId: 0, reason: 'timeout' }).rewrite(undefined, [[CANCELLED_ID, rawId]])
}
