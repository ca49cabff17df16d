import { CLIENT_CAPABILITIES_KEY, LATEST_MODERN_REVISION, Message, PROTOCOL_VERSION_KEY, CANCELLED_ID, SUBSCRIPTION_ID_KEY, idKey } from '@mcp-proxy/protocol'
import { admits, covers, honoured, readFilter, unite, type Filter } from './listen-filter.js'
import type { Peer } from './peer.js'

export const LISTEN = 'subscriptions/listen'

/** Ids of the one subscription that the bridge itself keeps open on a child. */
const PREFIX = 'mcp-proxy:listen:'

/** A client's subscription. */
export interface Listen {
  readonly peer: Peer
  /** The client's id of it, as JSON text. */
  readonly rawId: string
  readonly filter: Filter
  /** What the server has agreed to; `undefined` until then. */
  honoured: Filter | undefined
}

/** A subscription on the child. */
interface Upstream {
  readonly id: string
  readonly filter: Filter
  honoured: Filter | undefined
}

export interface ListensOptions {
  readonly send: (message: Message) => void
  readonly deliver: (peer: Peer, message: Message, about: string) => void
}

/**
 * What the clients of one modern server subscribe to (2026-07-28, "Subscriptions"). However many they are, the child
 * knows one subscription that covers them all: servers bound their number. It is opened anew when the child is.
 */
export class Listens {
  readonly #options: ListensOptions
  readonly #listens = new Set<Listen>()
  /** The one that is in force. */
  #current: Upstream | undefined
  /** The one that shall take its place. */
  #next: Upstream | undefined
  #scheduled = false
  #count = 0

  constructor (options: ListensOptions) {
    this.#options = options
  }

  get size (): number { return this.#listens.size }

  /** Opens a client's subscription. `false` when it asks for something that only the server knows. */
  open (peer: Peer, request: Message): boolean {
    const filter = readFilter(request.params?.['notifications'])
    if (filter === undefined) return false
    const listen: Listen = { peer, rawId: request.rawId as string, filter, honoured: undefined }
    this.#listens.add(listen)
    peer.addListen(listen)
    if (this.#current?.honoured !== undefined && this.#next === undefined && covers(this.#current.filter, filter)) this.#acknowledge(listen, this.#current.honoured)
    else this.#schedule()
    return true
  }

  /** The client is done with a subscription; `false` when it has none of that id. */
  close (peer: Peer, rawId: string): boolean {
    const listen = peer.listens.get(rawId)
    if (listen === undefined) return false
    this.#forget(listen)
    this.#schedule()
    return true
  }

  /** The client has left. */
  drop (peer: Peer): void {
    for (const rawId of [...peer.listens.keys()]) this.close(peer, rawId)
  }

  /** Another child has taken the place of the first, which knows of none of this. */
  reopen (): void {
    this.#current = undefined
    this.#next = undefined
    if (this.#listens.size > 0) this.#renew()
  }

  /** Ends all: there will be no other child. */
  finish (): void {
    for (const listen of [...this.#listens]) this.#finish(listen)
  }

  /** Takes an answer of the child to a subscription of the bridge; `false` for all others. */
  settle (answer: Message): boolean {
    const upstream = this.#byId(answer.rawId)
    if (upstream === undefined) return answer.rawId?.startsWith(`"${PREFIX}`) === true
    this.#lose(upstream)
    // what it has refused, it has refused to those who wait for it; what had been agreed to ends well
    for (const listen of [...this.#listens]) {
      if (listen.honoured !== undefined) {
        if (this.#current === undefined && this.#next === undefined) this.#finish(listen)
      } else if (covers(upstream.filter, listen.filter)) {
        this.#forget(listen)
        this.#options.deliver(listen.peer, answer.failed ? answer.rewrite(listen.rawId) : completion(listen), listen.rawId)
      }
    }
    return true
  }

  /** The child says that it ends a subscription (2026-07-28, "Cancellation"); `false` when it means something else. */
  end (cancelled: Message): boolean {
    const rawId = idKey(cancelled.raw(CANCELLED_ID) ?? '')
    return this.#byId(rawId) !== undefined && this.settle(Message.result(rawId as string, '{}'))
  }

  /** Passes what the child says on a subscription of the bridge to the clients that asked for it; `false` when it is of another. */
  deliver (message: Message, rawId: string | undefined): boolean {
    const upstream = rawId === undefined ? undefined : this.#byId(idKey(rawId))
    if (upstream === undefined) return rawId?.startsWith(`"${PREFIX}`) === true
    if (message.method === 'notifications/subscriptions/acknowledged') {
      this.#agreed(upstream, message)
      return true
    }
    // the one in force speaks until the other is
    if (upstream !== this.#current) return true
    for (const listen of this.#listens) if (listen.honoured !== undefined && admits(listen.honoured, message)) this.#pass(listen, message)
    return true
  }

  /** Tells all who listen for them that lists may have changed. */
  announce (): void {
    for (const [flag, kind] of [['toolsListChanged', 'tools'], ['promptsListChanged', 'prompts'], ['resourcesListChanged', 'resources']] as const) {
      const message = Message.notification(`notifications/${kind}/list_changed`, { _meta: { [SUBSCRIPTION_ID_KEY]: '' } })
      for (const listen of this.#listens) if (listen.honoured?.[flag] === true) this.#pass(listen, message)
    }
  }

  #agreed (upstream: Upstream, acknowledgement: Message): void {
    upstream.honoured = readFilter(acknowledgement.params?.['notifications']) ?? {}
    if (upstream === this.#next) {
      const former = this.#current
      this.#current = upstream
      this.#next = undefined
      if (former !== undefined) this.#cancel(former)
    }
    for (const listen of this.#listens) if (listen.honoured === undefined && covers(upstream.filter, listen.filter)) this.#acknowledge(listen, upstream.honoured)
  }

  #acknowledge (listen: Listen, agreed: Filter): void {
    listen.honoured = honoured(listen.filter, agreed)
    const { peer, rawId } = listen
    const notifications = JSON.stringify(listen.honoured)
    const said = Message.read(Buffer.from(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"${SUBSCRIPTION_ID_KEY}":${rawId}},"notifications":${notifications}}}`))
    if (said !== undefined) this.#options.deliver(peer, said, rawId)
  }

  #pass ({ peer, rawId }: Listen, message: Message): void {
    this.#options.deliver(peer, message.rewrite(undefined, [[['params', '_meta', SUBSCRIPTION_ID_KEY], rawId]]), rawId)
  }

  #finish (listen: Listen): void {
    this.#forget(listen)
    this.#options.deliver(listen.peer, completion(listen), listen.rawId)
  }

  #forget (listen: Listen): void {
    this.#listens.delete(listen)
    listen.peer.listens.delete(listen.rawId)
  }

  /** Subscribes anew at the end of the turn: of a hundred clients that come or go at once, the child hears once. */
  #schedule (): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      const wanted = unite([...this.#listens].map(listen => listen.filter))
      const latest = this.#next ?? this.#current
      if (this.#listens.size === 0) {
        for (const upstream of [this.#current, this.#next]) if (upstream !== undefined) this.#cancel(upstream)
        this.#current = undefined
        this.#next = undefined
      } else if (latest === undefined || !covers(latest.filter, wanted) || !covers(wanted, latest.filter)) {
        this.#renew(wanted)
      }
    })
  }

  #renew (filter: Filter = unite([...this.#listens].map(listen => listen.filter))): void {
    if (this.#next !== undefined) this.#cancel(this.#next)
    const next: Upstream = { id: JSON.stringify(PREFIX + this.#count++), filter, honoured: undefined }
    this.#next = next
    const meta = { [PROTOCOL_VERSION_KEY]: LATEST_MODERN_REVISION, [CLIENT_CAPABILITIES_KEY]: {} }
    this.#options.send(Message.request(next.id, LISTEN, JSON.stringify({ _meta: meta, notifications: filter })))
  }

  #cancel ({ id }: Upstream): void {
    this.#options.send(Message.notification('notifications/cancelled', { requestId: JSON.parse(id) }))
  }

  #lose (upstream: Upstream): void {
    if (this.#current === upstream) this.#current = undefined
    if (this.#next === upstream) this.#next = undefined
  }

  #byId (rawId: string | undefined): Upstream | undefined {
    return rawId === undefined ? undefined : [this.#current, this.#next].find(upstream => upstream?.id === rawId)
  }
}

/** The answer that ends a subscription (2026-07-28, "Subscriptions", Graceful Closure). */
function completion ({ rawId }: Listen): Message {
  return Message.result(rawId, `{"resultType":"complete","_meta":{"${SUBSCRIPTION_ID_KEY}":${rawId}}}`)
}
