import { METHOD_NOT_FOUND } from '../json-rpc.js'
import { Message } from '../message.js'
import { isObject } from '../object.js'
import { stamp } from './stamp.js'
import type { FastifyBaseLogger } from '../fastify.js'
import type { LegacyParty } from './legacy-party.js'
import type { SendOptions } from '../transport.js'
import type { Asker, ModernLink } from './modern-link.js'

/** Times in a row that a subscription is opened again without an acknowledgement. */
export const MAX_REOPENINGS = 5

/** The `notifications` of an acknowledgement: what the server will tell of. */
export type Honoured = Readonly<Record<string, unknown>>

export interface ModernSubscriptionOptions {
  readonly party: LegacyParty
  readonly link: ModernLink
  readonly log: FastifyBaseLogger
  /** JSON text of the `SubscriptionFilter`. */
  readonly filter: string
  /** It is tried again when the server refuses it: nobody waits who could try again. @default false */
  readonly insists?: boolean | undefined
  /** Milliseconds from the end of a subscription until it is opened again. */
  readonly reopenDelay: number
  /**
   * The server tells of this from now on. Called each time it says so.
   * @param missed it could not be reached before: what has changed meanwhile was not told
   */
  readonly onacknowledged: (honoured: Honoured, missed: boolean) => void
  /** The server cannot be reached: nothing is tried until {@link ModernSubscription.revive}. With the proxy's error. */
  readonly onlost: (error: Message) => void
  /** It is over, and is not opened again; with the server's error where there is one. */
  readonly onend: (error: Message | undefined) => void
}

/**
 * A `subscriptions/listen` that is kept open (2026-07-28, "Subscriptions"). When the server ends one that it had
 * acknowledged, it is opened again; one that is lost with the server, when the server is back.
 */
export class ModernSubscription implements Asker {
  upstreamId: string | undefined
  readonly clientId = undefined
  readonly #options: ModernSubscriptionOptions
  #timer: NodeJS.Timeout | undefined
  #wasAcknowledged = false
  #missed = false
  #reopenings = 0

  constructor (options: ModernSubscriptionOptions) {
    this.#options = options
  }

  open (): void {
    const { party, link, filter } = this.#options
    const request = Message.request('0', 'subscriptions/listen', `{"notifications":${filter}}`)
    link.ask(stamp(request, party.stamps) ?? request, this)
  }

  acknowledge (notification: Message): void {
    const honoured = notification.params?.['notifications']
    this.#wasAcknowledged = true
    this.#reopenings = 0
    const missed = this.#missed
    this.#missed = false
    this.#options.onacknowledged(isObject(honoured) ? honoured : {}, missed)
  }

  /** Opens one that was lost. */
  revive (): void {
    this.#reopenings = 0
    this.open()
  }

  answered (message: Message, options: SendOptions | undefined): void {
    // not the server's words: it may take the subscription when it can be reached
    if (options?.local === true && (this.#wasAcknowledged || this.#options.insists === true)) {
      this.#failed(message)
      return
    }
    // a server that does not know the method will not learn it
    const final = this.#options.insists !== true || message.error?.code === METHOD_NOT_FOUND
    if (message.failed && final) this.#options.onend(message)
    else this.#ended()
  }

  /** The server has ended it with a notification, which it sends in place of an answer ("Cancellation"). */
  cancelled (): void {
    this.#options.link.forget(this)
    this.#ended()
  }

  /** It is not wanted any more. */
  close (): void {
    this.stop()
    this.#options.link.cancel(this)
  }

  /** Is not opened again. */
  stop (): void {
    clearTimeout(this.#timer)
  }

  #failed (error: Message): void {
    this.#missed = true
    if (this.#reopens()) return
    this.#options.log.warn({ times: MAX_REOPENINGS }, 'a subscription is lost: it is opened again when the server answers something')
    this.#options.onlost(error)
  }

  #ended (): void {
    const { insists = false, log, onend } = this.#options
    if (!this.#wasAcknowledged && !insists) {
      onend(undefined)
    } else if (!this.#reopens()) {
      log.warn({ times: MAX_REOPENINGS }, 'the server does not acknowledge a subscription any more: given up')
      onend(undefined)
    }
  }

  /** Opens it again after a pause, unless that was done too often. */
  #reopens (): boolean {
    if (++this.#reopenings > MAX_REOPENINGS) return false
    this.#timer = setTimeout(() => this.open(), this.#options.reopenDelay).unref()
    return true
  }
}
