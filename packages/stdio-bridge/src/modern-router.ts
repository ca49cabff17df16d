import { LOG_LEVEL_KEY, Message, SUBSCRIPTION_ID_KEY, type ConnectContext, type Connection, type Transport } from '@mcp-proxy/protocol'
import { wantsLogs } from './calls.js'
import { stateOf } from './kept-children.js'
import { LeasedCalls, type LeasedCallsOptions } from './leased-calls.js'
import { LISTEN } from './listens.js'
import { Peer } from './peer.js'
import type { Mux } from './mux.js'
import type { Kind } from './warm-pool.js'

export interface ModernRouterOptions extends LeasedCallsOptions {
  /** Logs of calls that cannot be told apart lead to a child of their own. */
  readonly spreads: boolean
  /** A child stays for a client that subscribes. */
  readonly keeps: boolean
}

/**
 * The answering side of a client that does not shake hands, in front of a server that does not either. Any child can
 * serve any request, so one serves them all, unless log messages would have to be told apart: a server does not say on
 * stdio which call they are about.
 */
export class ModernRouter implements Connection {
  readonly #options: ModernRouterOptions
  readonly #transport: Transport
  readonly #peer: Peer
  readonly #context: ConnectContext
  /** Made for the first call that needs a child of its own: most need none. */
  #calls: LeasedCalls | undefined
  /** What the shared child hears of this client, and its end there. */
  #onmessage: ((message: Message) => void) | undefined
  readonly #mux: Mux | undefined
  readonly #shared: Connection | undefined
  readonly #kind: Kind

  /**
   * @param shared the child for everything that can share one; `undefined` when each request gets a child of its own
   * @param kind of those that calls get for themselves
   */
  constructor (options: ModernRouterOptions, shared: Mux | undefined, kind: Kind, transport: Transport, context: ConnectContext) {
    this.#options = options
    this.#mux = shared
    this.#kind = kind
    this.#transport = transport
    // without the HTTP request, which a connection may outlive by far
    this.#context = { id: context.id, principal: context.principal, log: context.log, request: undefined }
    this.#peer = new Peer(transport, context.id)
    this.#shared = shared?.attach(transport, context, this.#peer)
    this.#onmessage = transport.onmessage
    transport.onmessage = message => this.#receive(message)
  }

  close (): void | Promise<void> {
    this.#onmessage = undefined
    this.#transport.onmessage = undefined
    this.#calls?.close()
    return this.#shared?.close()
  }

  get #leasedCalls (): LeasedCalls {
    return (this.#calls ??= new LeasedCalls(this.#options, this.#transport, this.#context))
  }

  #receive (message: Message): void {
    if (message.kind === 'request') {
      if (this.#mux === undefined && !this.#options.keeps && message.method === LISTEN) this.#acknowledgeNothing(message)
      else if (this.#needsOwnChild(message)) this.#leasedCalls.open(this.#kind, message)
      else this.#onmessage?.(this.#quieten(message))
    } else {
      this.#calls?.notify(message)
      this.#onmessage?.(message)
    }
  }

  /** Children come and go with each call: there is none whose changes could be listened to. */
  #acknowledgeNothing ({ rawId }: Message): void {
    const params = { _meta: { [SUBSCRIPTION_ID_KEY]: JSON.parse(rawId as string) as unknown }, notifications: {} }
    void this.#transport.send(Message.notification('notifications/subscriptions/acknowledged', params), { relatedRequestId: rawId })
  }

  #needsOwnChild (request: Message): boolean {
    const shared = this.#mux
    if (shared === undefined) return true
    // a retry belongs to the child that has asked
    return stateOf(request) === undefined ? this.#logsMeet(request, shared) : this.#options.kept.has({ principal: this.#context.principal, kind: this.#kind }, request)
  }

  /** A retry for the shared child whose log messages could be taken for those of others gets none. */
  #quieten (request: Message): Message {
    const shared = this.#mux
    if (shared === undefined || stateOf(request) === undefined || !this.#logsMeet(request, shared)) return request
    return request.edit(['params', '_meta'], { [LOG_LEVEL_KEY]: undefined })
  }

  #logsMeet (request: Message, shared: Mux): boolean {
    return this.#options.spreads && request.method !== LISTEN && wantsLogs(request) && shared.logsMeet(this.#peer)
  }
}
