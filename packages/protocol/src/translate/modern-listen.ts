import { mcpError, type CodedError } from '../errors.js'
import { METHOD_NOT_FOUND } from '../json-rpc.js'
import { Message } from '../message.js'
import { SUBSCRIPTION_ID_KEY } from '../request-meta.js'
import { BorrowedServer } from './borrowed-server.js'
import { KeptMessages } from './kept-messages.js'
import { offers, profileOf } from './server-profile.js'
import { readFilter, toRawFilter, type SubscriptionFilter } from './subscription-filter.js'
import type { LegacyServer } from './legacy-source.js'
import type { ModernParty, OpenRequest } from './modern-party.js'

/** What a filter lets through, by the kind of list. */
const LIST_CHANGES: ReadonlyMap<string, 'tools' | 'prompts' | 'resources'> = new Map([
  ['notifications/tools/list_changed', 'tools'],
  ['notifications/prompts/list_changed', 'prompts'],
  ['notifications/resources/list_changed', 'resources'],
])

/** One `subscriptions/listen` (2026-07-28, "Subscriptions"): open until its client has had enough, or its server goes. */
export class ModernListen implements OpenRequest {
  readonly #party: ModernParty
  readonly #rawId: string
  readonly #asked: SubscriptionFilter
  readonly #borrowed: BorrowedServer
  /** URIs whose subscription the server has not answered, by the id of that request. */
  readonly #pending = new Map<string, string>()
  readonly #subscribed: string[] = []
  #lists: SubscriptionFilter['lists'] = new Set()
  /** What comes before the acknowledgement; `undefined` from then on. */
  #early: KeptMessages | undefined = new KeptMessages()

  /** @throws MCP_ERR_PARAMS */
  constructor (party: ModernParty, request: Message) {
    this.#party = party
    this.#rawId = request.rawId as string
    this.#asked = readFilter(request.params?.['notifications'])
    this.#borrowed = new BorrowedServer({
      serve: server => this.#serve(server),
      receive: message => this.#receive(message),
      fail: error => this.#end(error),
    })
  }

  /** @throws CodedError, when there is no server */
  open (): void {
    this.#party.hold(this.#rawId, this)
    this.#borrowed.borrow(this.#party.desk.source, { method: 'subscriptions/listen', introduction: undefined, alone: false, stays: true }, this.#party.context)
  }

  cancel (): void {
    this.#borrowed.giveBack()
  }

  stop (): void {
    this.#end(undefined)
  }

  #serve ({ initializeAnswer }: LegacyServer): void {
    const profile = profileOf(initializeAnswer)
    this.#lists = new Set([...this.#asked.lists].filter(kind => offers(profile, kind, 'listChanged')))
    const uris = offers(profile, 'resources', 'subscribe') ? this.#asked.uris : []
    // all ids before the first request: it may be answered at once
    const requests = uris.map((uri, index) => {
      const id = `"mcp-proxy-${index + 1}"`
      this.#pending.set(id, uri)
      return Message.request(id, 'resources/subscribe', JSON.stringify({ uri }))
    })
    for (const request of requests) this.#borrowed.tell(request)
    if (requests.length === 0) this.#acknowledge()
  }

  #receive (message: Message): void | Promise<void> {
    if (message.kind === 'request') this.#refuse(message)
    else if (message.kind === 'response') this.#subscription(message)
    else if (this.#early !== undefined) this.#early.add(message)
    else return this.#notify(message)
  }

  #refuse ({ method, rawId }: Message): void {
    const serverId = rawId as string
    if (method === 'ping') this.#borrowed.tell(Message.result(serverId, '{}'))
    else this.#borrowed.tell(Message.error(serverId, { code: METHOD_NOT_FOUND, message: `Method not found: ${method}` }))
  }

  #subscription ({ rawId = '', failed }: Message): void {
    const uri = this.#pending.get(rawId)
    if (uri === undefined) return
    this.#pending.delete(rawId)
    if (!failed) this.#subscribed.push(uri)
    if (this.#pending.size === 0) this.#acknowledge()
  }

  #acknowledge (): void {
    // in the order in which they were asked for
    const granted = new Set(this.#subscribed)
    const filter = toRawFilter({ lists: this.#lists, uris: this.#asked.uris.filter(uri => granted.has(uri)) })
    void this.#say(Message.notification('notifications/subscriptions/acknowledged').edit(['params'], { notifications: filter }))
    const early = this.#early?.take() ?? []
    this.#early = undefined
    for (const message of early) void this.#notify(message)
  }

  #notify (message: Message): void | Promise<void> {
    const method = message.method as string
    const kind = LIST_CHANGES.get(method)
    // the source knows which resources are below a subscribed one
    const wanted = kind === undefined ? method === 'notifications/resources/updated' && this.#subscribed.length > 0 : this.#lists.has(kind)
    if (wanted) return this.#say(message)
  }

  #say (message: Message): void | Promise<void> {
    return this.#party.say(this.#rawId, message.edit(['params', '_meta'], { [SUBSCRIPTION_ID_KEY]: this.#rawId }))
  }

  /** @param error why there is no server; `undefined` at an end in good order (2026-07-28, "Subscriptions", Graceful Closure) */
  #end (error: CodedError | undefined): void {
    this.#borrowed.giveBack()
    if (error !== undefined) this.#party.refuse(this.#rawId, error)
    else if (this.#early !== undefined) this.#party.refuse(this.#rawId, mcpError('MCP_ERR_STOPPED'))
    else void this.#party.answer(this.#rawId, Message.result(this.#rawId, `{"resultType":"complete","_meta":{${JSON.stringify(SUBSCRIPTION_ID_KEY)}:${this.#rawId}}}`))
  }
}
