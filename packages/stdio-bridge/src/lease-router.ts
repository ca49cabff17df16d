import { CANCELLED_ID, METHOD_NOT_FOUND, Message, idKey, mcpError, toRpcError, type CodedError, type ConnectContext, type Connection, type Transport } from '@mcp-proxy/protocol'
import { INITIALIZED, answerInitialize, declaresCallbacks } from './handshake.js'
import { isLogLevel } from './log-levels.js'
import { pass } from './pass.js'
import { Peer } from './peer.js'
import type { Lease, WarmPool } from './warm-pool.js'

/** A call that has a child to itself. */
interface OpenCall {
  readonly lease: Lease
  readonly peer: Peer
  readonly transport: Transport
}

export interface LeaseRouterOptions {
  readonly pool: WarmPool
  readonly maxChildren: number
  readonly maxPendingCalls: number
}

/**
 * The answering side of a client whose calls each get a child of their own (`isolation: 'request'`). What concerns the
 * whole session is answered here: no child of it stays.
 */
export class LeaseRouter implements Connection {
  readonly #options: LeaseRouterOptions
  readonly #transport: Transport
  readonly #context: Omit<ConnectContext, 'request'>
  readonly #calls = new Map<string, OpenCall | 'waiting'>()
  #kind = ''
  #logLevel: string | undefined
  #nextCallback = 1
  #closed = false

  constructor (options: LeaseRouterOptions, transport: Transport, { id, principal, log }: ConnectContext) {
    this.#options = options
    this.#transport = transport
    this.#context = { id, principal, log }
    transport.onmessage = message => this.#receive(message)
  }

  async close (): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#transport.onmessage = undefined
    for (const [rawId, call] of this.#calls) if (call !== 'waiting') this.#end(rawId, call)
    this.#calls.clear()
  }

  #receive (message: Message): void {
    if (message.kind === 'request') this.#request(message)
    else if (message.kind === 'notification') this.#notification(message)
    else this.#openCalls().find(({ peer }) => peer.callbacks.has(message.rawId ?? ''))?.transport.onmessage?.(message)
  }

  #request (message: Message): void {
    const rawId = message.rawId as string
    switch (message.method) {
      case 'initialize':
        // no callbacks, no name: such clients can share what is kept ready
        this.#kind = declaresCallbacks(message) ? message.raw(['params']) ?? '' : ''
        this.#withChild(rawId, (lease) => {
          lease.release(false)
          this.#calls.delete(rawId)
          if (lease.mux.initializeAnswer !== undefined) void this.#transport.send(answerInitialize(lease.mux.initializeAnswer, message))
        })
        return
      case 'ping':
        void this.#transport.send(Message.result(rawId, '{}'))
        return
      case 'logging/setLevel':
        if (isLogLevel(message.params?.['level'])) this.#logLevel = message.params['level']
        void this.#transport.send(Message.result(rawId, '{}'))
        return
      case 'resources/subscribe':
      case 'resources/unsubscribe':
        void this.#transport.send(Message.error(rawId, { code: METHOD_NOT_FOUND, message: `${message.method} needs a server that stays; this one is started for each call` }))
        return
      default:
        this.#withChild(rawId, lease => this.#call(lease, message))
    }
  }

  #call (lease: Lease, message: Message): void {
    const rawId = message.rawId as string
    const transport: Transport = {
      send: (answer, options) => {
        if (answer.kind === 'response') this.#end(rawId, call)
        return this.#transport.send(answer, { ...options, relatedRequestId: rawId })
      },
      close: () => {},
    }
    const peer = new Peer(transport, this.#context.id, () => this.#nextCallback++)
    const call: OpenCall = { lease, peer, transport }
    this.#calls.set(rawId, call)
    lease.mux.attach(transport, { ...this.#context, request: undefined }, peer)
    if (this.#logLevel !== undefined) lease.mux.setLogLevel(peer, this.#logLevel)
    pass(transport, message)
  }

  #notification (message: Message): void {
    if (message.method === INITIALIZED.method) return
    if (message.method === 'notifications/cancelled') {
      const rawId = idKey(message.raw(CANCELLED_ID) ?? '') ?? ''
      const call = this.#calls.get(rawId)
      if (call === 'waiting') this.#calls.delete(rawId)
      else if (call !== undefined) {
        pass(call.transport, message)
        this.#end(rawId, call)
      }
      return
    }
    for (const { transport } of this.#openCalls()) pass(transport, message)
  }

  /** Gets a child for a request; the client is told when there is none. */
  #withChild (rawId: string, then: (lease: Lease) => void): void {
    if (this.#calls.has(rawId)) {
      this.#refuse(rawId, mcpError('MCP_ERR_ID_IN_USE', rawId))
      return
    }
    if (this.#calls.size >= this.#options.maxPendingCalls) {
      this.#refuse(rawId, mcpError('MCP_ERR_CALL_LIMIT', this.#options.maxPendingCalls))
      return
    }
    this.#calls.set(rawId, 'waiting')
    this.#options.pool.lease(this.#kind).then((lease) => {
      // cancelled, or the client has left, while the child was starting
      const wanted = this.#calls.get(rawId) === 'waiting'
      if (lease === undefined) {
        this.#calls.delete(rawId)
        if (wanted) this.#refuse(rawId, Object.assign(mcpError('MCP_ERR_CHILD_LIMIT', this.#options.maxChildren), { retryAfter: 1 }))
      } else if (wanted) {
        then(lease)
      } else {
        lease.release(false)
      }
    }).catch((error: CodedError) => {
      this.#calls.delete(rawId)
      this.#context.log.error({ err: error }, 'no child for a call')
      this.#refuse(rawId, error)
    })
  }

  #refuse (rawId: string, error: CodedError): void {
    if (!this.#closed) void this.#transport.send(Message.error(rawId, toRpcError(error)), { status: error.statusCode, retryAfter: error.retryAfter })
  }

  #end (rawId: string, { lease, peer }: OpenCall): void {
    this.#calls.delete(rawId)
    lease.mux.release(peer)
    lease.release(true)
  }

  #openCalls (): OpenCall[] {
    return [...this.#calls.values()].filter(call => call !== 'waiting')
  }
}
