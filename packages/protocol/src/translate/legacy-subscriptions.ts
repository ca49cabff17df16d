import { mcpError, type CodedError } from '../errors.js'
import { idKey } from '../envelope.js'
import { CANCELLED_ID, Message } from '../message.js'
import { SUBSCRIPTION_ID_KEY } from '../request-meta.js'
import { ModernSubscription, type Honoured, type ModernSubscriptionOptions } from './modern-subscription.js'
import { untag } from './stamp.js'
import type { LegacyParty } from './legacy-party.js'
import type { ModernLink } from './modern-link.js'

/** Resources that one session may subscribe to. */
export const MAX_SUBSCRIPTIONS = 1_000

export type LegacySubscriptionsOptions = Pick<ModernSubscriptionOptions, 'party' | 'link' | 'log' | 'reopenDelay'>

interface Subscribed {
  readonly subscription: ModernSubscription
  /** The server tells of it. */
  acknowledged: boolean
  /** The client has been told that it is subscribed. */
  promised: boolean
}

/**
 * What a legacy client subscribes to with `resources/subscribe`, and what it is told without asking (`list_changed`), as
 * subscriptions of a modern server: one for each resource, and one for all lists.
 */
export class LegacySubscriptions {
  readonly #options: LegacySubscriptionsOptions
  readonly #party: LegacyParty
  readonly #link: ModernLink
  readonly #resources = new Map<string, Subscribed>()
  /** The resources of `resources/subscribe` requests that wait for an acknowledgement, by the JSON text of their ids. */
  readonly #waiting = new Map<string, string>()
  #lists: ModernSubscription | undefined
  /** What is opened when the server can be reached again. */
  readonly #lost = new Set<ModernSubscription>()

  constructor (options: LegacySubscriptionsOptions) {
    this.#options = options
    this.#party = options.party
    this.#link = options.link
  }

  /** Listens for changes of lists, once. */
  followLists (kinds: readonly string[]): void {
    if (this.#lists !== undefined || kinds.length === 0) return
    const lists = new ModernSubscription({
      ...this.#options,
      filter: JSON.stringify(Object.fromEntries(kinds.map(kind => [`${kind}ListChanged`, true]))),
      insists: true,
      onacknowledged: (honoured, missed) => {
        if (missed) for (const kind of kinds.filter(kind => honoured[`${kind}ListChanged`] === true)) void this.#party.tell(Message.notification(`notifications/${kind}/list_changed`))
      },
      onlost: () => { this.#lost.add(lists) },
      onend: error => this.#options.log.debug({ failed: error !== undefined }, 'the server does not tell of changed lists any more'),
    })
    this.#lists = lists
    lists.open()
  }

  /** The server can be reached: opens what was lost. */
  revive (): void {
    if (this.#lost.size === 0) return
    const lost = [...this.#lost]
    this.#lost.clear()
    for (const subscription of lost) subscription.revive()
  }

  /** Whether a `resources/subscribe` under this id waits for its answer. */
  waits (rawId: string): boolean {
    return this.#waiting.has(rawId)
  }

  subscribe (request: Message): void {
    const rawId = request.rawId as string
    const uri = request.params?.['uri']
    if (typeof uri !== 'string') {
      this.#party.refuse(rawId, noUri())
      return
    }
    const known = this.#resources.get(uri)
    if (known?.acknowledged === true) {
      void this.#party.tell(Message.result(rawId, '{}'))
    } else if (this.#waiting.size >= MAX_SUBSCRIPTIONS || (known === undefined && this.#resources.size >= MAX_SUBSCRIPTIONS)) {
      this.#party.refuse(rawId, mcpError('MCP_ERR_SUBSCRIPTION_LIMIT', MAX_SUBSCRIPTIONS))
    } else {
      this.#waiting.set(rawId, uri)
      if (known === undefined) this.#open(uri, request.raw(['params', 'uri']) as string)
      else if (this.#lost.delete(known.subscription)) known.subscription.revive()
    }
  }

  unsubscribe (request: Message): void {
    const rawId = request.rawId as string
    const uri = request.params?.['uri']
    if (typeof uri !== 'string') {
      this.#party.refuse(rawId, noUri())
      return
    }
    this.#close(uri)
    for (const waiting of this.#takeWaiting(uri)) void this.#party.tell(Message.result(waiting, '{}'))
    void this.#party.tell(Message.result(rawId, '{}'))
  }

  /** The client does not want the answer to a `resources/subscribe`: without anybody who does, it is undone. */
  cancel (rawId: string): void {
    const uri = this.#waiting.get(rawId)
    if (uri === undefined) return
    this.#waiting.delete(rawId)
    if (this.#resources.get(uri)?.promised !== true && ![...this.#waiting.values()].includes(uri)) this.#close(uri)
  }

  /** A notification that bears the mark of a subscription. */
  heard (notification: Message): void | Promise<void> {
    const subscription = this.#find(notification.raw(['params', '_meta', SUBSCRIPTION_ID_KEY]))
    if (subscription === undefined) return
    if (notification.method !== 'notifications/subscriptions/acknowledged') return this.#party.tell(untag(notification))
    subscription.acknowledge(notification)
  }

  /** The server's `notifications/cancelled`, which can only name a subscription (2026-07-28, "Cancellation"). */
  ended (notification: Message): void {
    this.#find(notification.raw(CANCELLED_ID))?.cancelled()
  }

  /** Opens none of them again. Whoever waits for an acknowledgement is told why, unless nobody is left. */
  stop (error: CodedError | undefined): void {
    this.#lists?.stop()
    this.#lost.clear()
    for (const { subscription } of this.#resources.values()) subscription.stop()
    this.#resources.clear()
    if (error !== undefined) for (const rawId of this.#waiting.keys()) this.#party.refuse(rawId, error)
    this.#waiting.clear()
  }

  #open (uri: string, rawUri: string): void {
    const subscription = new ModernSubscription({
      ...this.#options,
      filter: `{"resourceSubscriptions":[${rawUri}]}`,
      onacknowledged: (honoured, missed) => this.#acknowledged(uri, honoured, missed),
      onlost: error => this.#unreachable(uri, subscription, error),
      onend: error => this.#ended(uri, error),
    })
    this.#resources.set(uri, { subscription, acknowledged: false, promised: false })
    subscription.open()
  }

  #acknowledged (uri: string, { resourceSubscriptions }: Honoured, missed: boolean): void {
    const known = this.#resources.get(uri)
    if (known === undefined) return
    if (Array.isArray(resourceSubscriptions) && resourceSubscriptions.includes(uri)) {
      known.acknowledged = known.promised = true
      for (const rawId of this.#takeWaiting(uri)) void this.#party.tell(Message.result(rawId, '{}'))
      if (missed) void this.#party.tell(Message.notification('notifications/resources/updated', { uri }))
      return
    }
    this.#close(uri)
    const error = Array.isArray(resourceSubscriptions) ? refused(uri) : mcpError('MCP_ERR_METHOD_NOT_FOUND', 'resources/subscribe')
    for (const rawId of this.#takeWaiting(uri)) this.#party.refuse(rawId, error)
  }

  #ended (uri: string, error: Message | undefined): void {
    this.#resources.delete(uri)
    for (const rawId of this.#takeWaiting(uri)) {
      if (error === undefined) this.#party.refuse(rawId, refused(uri))
      else void this.#party.tell(error.rewrite(rawId))
    }
  }

  #unreachable (uri: string, subscription: ModernSubscription, error: Message): void {
    const known = this.#resources.get(uri)
    if (known?.subscription !== subscription) return
    known.acknowledged = false
    this.#lost.add(subscription)
    for (const rawId of this.#takeWaiting(uri)) void this.#party.tell(error.rewrite(rawId), { local: true })
  }

  #takeWaiting (uri: string): string[] {
    const rawIds = [...this.#waiting].flatMap(([rawId, other]) => other === uri ? [rawId] : [])
    for (const rawId of rawIds) this.#waiting.delete(rawId)
    return rawIds
  }

  #close (uri: string): void {
    const known = this.#resources.get(uri)
    this.#resources.delete(uri)
    if (known === undefined) return
    this.#lost.delete(known.subscription)
    known.subscription.close()
  }

  #find (rawId: string | undefined): ModernSubscription | undefined {
    const asker = rawId === undefined ? undefined : this.#link.askerOf(idKey(rawId))
    return asker instanceof ModernSubscription ? asker : undefined
  }
}

function noUri (): CodedError {
  return mcpError('MCP_ERR_PARAMS', '"uri" must be a string')
}

function refused (uri: string): CodedError {
  return mcpError('MCP_ERR_PARAMS', `the server does not take subscriptions to ${JSON.stringify(uri)}`)
}
