import { BusyMap, CANCELLED_ID, Message, idKey, mcpError, toRpcError, type CodedError, type ConnectContext, type Transport } from '@mcp-proxy/protocol'
import { pass } from './pass.js'
import { Peer } from './peer.js'
import type { KeptChildren } from './kept-children.js'
import type { Mux } from './mux.js'
import type { Kind, Lease, LeaseEnd, WarmPool } from './warm-pool.js'

/** A request that waits for a child, or has one to itself. */
interface OpenCall {
  readonly kind: Kind
  /** The child is not wanted any more. */
  over: boolean
  /** Says so to whoever looks for one; made when there is none at once. */
  wanted?: AbortController
  serving?: { readonly lease: Lease, readonly peer: Peer, readonly transport: Transport }
}

export interface LeasedCallsOptions {
  readonly pool: WarmPool
  /** Children that wait for a retry. */
  readonly kept: KeptChildren
  readonly maxChildren: number
  readonly maxPendingCalls: number
}

/** The calls of one client that each have a child to themselves while they last. */
export class LeasedCalls {
  readonly #options: LeasedCallsOptions
  readonly #transport: Transport
  readonly #context: Omit<ConnectContext, 'request'>
  readonly #calls = new BusyMap<string, OpenCall>()
  #nextCallback = 1
  #closed = false

  constructor (options: LeasedCallsOptions, transport: Transport, { id, principal, log }: ConnectContext) {
    this.#options = options
    this.#transport = transport
    this.#context = { id, principal, log }
  }

  has (rawId: string): boolean {
    return this.#calls.has(rawId)
  }

  /** Passes a request to a child that is its own from now on. `prepare` may tell the child something first. */
  open (kind: Kind, message: Message, prepare: (mux: Mux, peer: Peer) => void = () => {}): void {
    const rawId = message.rawId as string
    const kept = this.#isRefused(rawId) ? undefined : this.#options.kept.take(this.#owner(kind), message)
    this.#withChild(kind, rawId, kept, (lease, call) => {
      const transport: Transport = {
        send: (answer, options) => {
          // a child that was given up may still be at work, and ask its next client about this one's call
          if (answer.kind === 'response') this.#end(rawId, call, options?.local === true ? 'dirty' : 'answered', answer)
          return this.#transport.send(answer, { ...options, relatedRequestId: rawId })
        },
        close: () => {},
      }
      const peer = new Peer(transport, this.#context.id, () => this.#nextCallback++)
      call.serving = { lease, peer, transport }
      lease.mux.attach(transport, { ...this.#context, request: undefined }, peer)
      prepare(lease.mux, peer)
      pass(transport, message)
    })
  }

  /** Waits until there is a child, which is needed only to see it. */
  see (kind: Kind, rawId: string, then: (mux: Mux) => void): void {
    this.#withChild(kind, rawId, undefined, ({ mux, release }) => {
      this.#calls.delete(rawId)
      release('unused')
      then(mux)
    })
  }

  /** A notification: of the end of one call, or for all. */
  notify (message: Message): void {
    if (message.method !== 'notifications/cancelled') {
      for (const { serving } of [...this.#calls.values()]) if (serving !== undefined) pass(serving.transport, message)
      return
    }
    const rawId = idKey(message.raw(CANCELLED_ID) ?? '') ?? ''
    const call = this.#calls.get(rawId)
    if (call === undefined) return
    if (call.serving !== undefined) pass(call.serving.transport, message)
    this.#end(rawId, call, 'dirty')
  }

  /** The answer to a request of one of the children. */
  answer (message: Message): void {
    for (const { serving } of [...this.#calls.values()]) if (serving?.peer.callbacks.has(message.rawId ?? '') === true) pass(serving.transport, message)
  }

  close (): void {
    if (this.#closed) return
    this.#closed = true
    for (const [rawId, call] of [...this.#calls]) this.#end(rawId, call, 'dirty')
  }

  #owner (kind: Kind): { principal: string | undefined, kind: Kind } {
    return { principal: this.#context.principal, kind }
  }

  #isRefused (rawId: string): boolean {
    return this.#calls.has(rawId) || this.#calls.size >= this.#options.maxPendingCalls
  }

  /** Gets a child for a request, where none was kept for it; the client is told when there is none. */
  #withChild (kind: Kind, rawId: string, kept: Lease | undefined, then: (lease: Lease, call: OpenCall) => void): void {
    const { maxPendingCalls, maxChildren, pool } = this.#options
    if (this.#isRefused(rawId)) {
      this.#refuse(rawId, this.#calls.has(rawId) ? mcpError('MCP_ERR_ID_IN_USE', rawId) : mcpError('MCP_ERR_CALL_LIMIT', maxPendingCalls))
      return
    }
    const call: OpenCall = { kind, over: false }
    this.#calls.set(rawId, call)
    if (kept !== undefined) {
      then(kept, call)
      return
    }
    const wanted = (): AbortSignal => (call.wanted ??= new AbortController()).signal
    pool.lease(kind, this.#context.principal, wanted).then((lease) => {
      // cancelled, or the client has left; the id may be in use again
      if (call.over) {
        lease?.release('unused')
      } else if (lease === undefined) {
        this.#calls.delete(rawId)
        this.#refuse(rawId, Object.assign(mcpError('MCP_ERR_CHILD_LIMIT', maxChildren), { retryAfter: 1 }))
      } else {
        then(lease, call)
      }
    }).catch((error: CodedError) => {
      this.#context.log.error({ err: error }, 'no child for a call')
      if (call.over) return
      this.#calls.delete(rawId)
      this.#refuse(rawId, error)
    })
  }

  #refuse (rawId: string, error: CodedError): void {
    if (!this.#closed) void this.#transport.send(Message.error(rawId, toRpcError(error)), { status: error.statusCode, retryAfter: error.retryAfter, local: true })
  }

  #end (rawId: string, call: OpenCall, end: LeaseEnd, answer?: Message): void {
    call.over = true
    call.wanted?.abort()
    if (this.#calls.get(rawId) === call) this.#calls.delete(rawId)
    const { serving } = call
    if (serving === undefined) return
    delete call.serving
    // one that has asked something is not done, whatever it says
    const clean = end === 'answered' && serving.peer.callbacks.size === 0
    serving.lease.mux.release(serving.peer)
    if (clean && answer !== undefined && this.#options.kept.keep(this.#owner(call.kind), answer, serving.lease)) return
    serving.lease.release(clean ? 'answered' : 'dirty')
  }
}
