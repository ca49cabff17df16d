import { CANCELLED_ID, METHOD_NOT_FOUND, Message, idKey, isLogLevel, mcpError, toRpcError, type CodedError, type ConnectContext, type Connection, type Transport } from '@mcp-proxy/protocol'
import { INITIALIZED, answerInitialize, declaresCallbacks } from './handshake.js'
import { pass } from './pass.js'
import { Peer } from './peer.js'
import type { Lease, LeaseEnd, WarmPool } from './warm-pool.js'

/** A request that waits for a child, or has one to itself. */
interface OpenCall {
  /** Aborted when the child is not wanted any more. */
  readonly wanted: AbortController
  serving?: { readonly lease: Lease, readonly peer: Peer, readonly transport: Transport }
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
  readonly #calls = new Map<string, OpenCall>()
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
    for (const [rawId, call] of this.#calls) this.#end(rawId, call, 'dirty')
  }

  #receive (message: Message): void {
    if (message.kind === 'request') this.#request(message)
    else if (message.kind === 'notification') this.#notification(message)
    else for (const { serving } of this.#calls.values()) if (serving?.peer.callbacks.has(message.rawId ?? '') === true) pass(serving.transport, message)
  }

  #request (message: Message): void {
    const rawId = message.rawId as string
    switch (message.method) {
      case 'initialize':
        // no callbacks, no name: such clients can share what is kept ready
        this.#kind = declaresCallbacks(message) ? message.raw(['params']) ?? '' : ''
        this.#withChild(rawId, (lease) => {
          this.#calls.delete(rawId)
          lease.release('unused')
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
        this.#withChild(rawId, (lease, call) => this.#call(lease, call, message))
    }
  }

  #call (lease: Lease, call: OpenCall, message: Message): void {
    const rawId = message.rawId as string
    const transport: Transport = {
      send: (answer, options) => {
        // a child that was given up may still be at work, and ask its next client about this one's call
        if (answer.kind === 'response') this.#end(rawId, call, options?.local === true ? 'dirty' : 'answered')
        return this.#transport.send(answer, { ...options, relatedRequestId: rawId })
      },
      close: () => {},
    }
    const peer = new Peer(transport, this.#context.id, () => this.#nextCallback++)
    call.serving = { lease, peer, transport }
    lease.mux.attach(transport, { ...this.#context, request: undefined }, peer)
    if (this.#logLevel !== undefined) lease.mux.setLogLevel(peer, this.#logLevel)
    pass(transport, message)
  }

  #notification (message: Message): void {
    if (message.method === INITIALIZED.method) return
    if (message.method === 'notifications/cancelled') {
      const rawId = idKey(message.raw(CANCELLED_ID) ?? '') ?? ''
      const call = this.#calls.get(rawId)
      if (call === undefined) return
      if (call.serving !== undefined) pass(call.serving.transport, message)
      this.#end(rawId, call, 'dirty')
      return
    }
    for (const { serving } of this.#calls.values()) if (serving !== undefined) pass(serving.transport, message)
  }

  /** Gets a child for a request; the client is told when there is none. */
  #withChild (rawId: string, then: (lease: Lease, call: OpenCall) => void): void {
    const { maxPendingCalls, maxChildren, pool } = this.#options
    if (this.#calls.has(rawId) || this.#calls.size >= maxPendingCalls) {
      this.#refuse(rawId, this.#calls.has(rawId) ? mcpError('MCP_ERR_ID_IN_USE', rawId) : mcpError('MCP_ERR_CALL_LIMIT', maxPendingCalls))
      return
    }
    const call: OpenCall = { wanted: new AbortController() }
    this.#calls.set(rawId, call)
    const { signal } = call.wanted
    pool.lease(this.#kind, signal).then((lease) => {
      // cancelled, or the client has left; the id may be in use again
      if (signal.aborted) {
        lease?.release('unused')
      } else if (lease === undefined) {
        this.#calls.delete(rawId)
        this.#refuse(rawId, Object.assign(mcpError('MCP_ERR_CHILD_LIMIT', maxChildren), { retryAfter: 1 }))
      } else {
        then(lease, call)
      }
    }).catch((error: CodedError) => {
      this.#context.log.error({ err: error }, 'no child for a call')
      if (signal.aborted) return
      this.#calls.delete(rawId)
      this.#refuse(rawId, error)
    })
  }

  #refuse (rawId: string, error: CodedError): void {
    if (!this.#closed) void this.#transport.send(Message.error(rawId, toRpcError(error)), { status: error.statusCode, retryAfter: error.retryAfter })
  }

  #end (rawId: string, call: OpenCall, end: LeaseEnd): void {
    call.wanted.abort()
    if (this.#calls.get(rawId) === call) this.#calls.delete(rawId)
    const { serving } = call
    if (serving === undefined) return
    delete call.serving
    // one that has asked something is not done, whatever it says
    const clean = end === 'answered' && serving.peer.callbacks.size === 0
    serving.lease.mux.release(serving.peer)
    serving.lease.release(clean ? 'answered' : 'dirty')
  }
}
