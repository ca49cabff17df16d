import { METHOD_NOT_FOUND } from '../json-rpc.js'
import { Message } from '../message.js'
import { isObject } from '../object.js'
import { stamp } from './stamp.js'
import type { FastifyBaseLogger } from '../fastify.js'
import type { LegacyParty } from './legacy-party.js'
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
  /** The server tells of this from now on. Called each time it says so. */
  readonly onacknowledged: (honoured: Honoured) => void
  /** It is over, and is not opened again; with the server's error where there is one. */
  readonly onend: (error: Message | undefined) => void
}

/**
 * A `subscriptions/listen` that is kept open (2026-07-28, "Subscriptions"). When the server ends one that it had
 * acknowledged, it is opened again.
 */
export class ModernSubscription implements Asker {
  upstreamId: string | undefined
  readonly clientId = undefined
  readonly #options: ModernSubscriptionOptions
  #timer: NodeJS.Timeout | undefined
  #wasAcknowledged = false
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
    this.#options.onacknowledged(isObject(honoured) ? honoured : {})
  }

  answered (message: Message): void {
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

  #ended (): void {
    const { insists = false, log, reopenDelay, onend } = this.#options
    if (!this.#wasAcknowledged && !insists) {
      onend(undefined)
    } else if (++this.#reopenings > MAX_REOPENINGS) {
      log.warn({ times: MAX_REOPENINGS }, 'the server does not acknowledge a subscription any more: given up')
      onend(undefined)
    } else {
      this.#timer = setTimeout(() => this.open(), reopenDelay).unref()
    }
  }
}
