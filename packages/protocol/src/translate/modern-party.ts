import { mcpError, toRpcError, type CodedError } from '../errors.js'
import { BusyMap } from '../busy.js'
import { idKey } from '../envelope.js'
import { CANCELLED_ID, Message } from '../message.js'
import { Asker } from './asker.js'
import { toInputRequired } from './input-requests.js'
import { discover } from './modern-discover.js'
import { ModernCall } from './modern-call.js'
import { ModernListen } from './modern-listen.js'
import { openState, refused, type RequestState, type StateSeal } from './request-state.js'
import { unvisited } from './url-elicitations.js'
import type { ConnectContext, Connection, SendOptions, Transport } from '../transport.js'
import type { FastifyBaseLogger } from '../fastify.js'
import type { LegacySource } from './legacy-source.js'
import type { ParkedCalls } from './parked-calls.js'

/** Requests that one connection may have open: over HTTP it has one. */
const MAX_OPEN = 1000

/** What modern clients do not say, or what would change a server that others use too (2026-07-28, "Key Changes"). */
const REFUSED: ReadonlySet<string> = new Set(['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe'])

/** What all modern parties in front of one source share. */
export interface ModernDesk {
  readonly source: LegacySource
  readonly seal: StateSeal
  readonly parked: ParkedCalls<ModernCall>
  /** Milliseconds that a call waits for more questions of its server, after the first. */
  readonly gather: number
  /** Milliseconds that a call waits for its client. */
  readonly parkTimeout: number
  readonly log: FastifyBaseLogger | undefined
}

/** A request that has no answer yet. */
export interface OpenRequest {
  /** Nobody wants the answer any more. Harmless when called twice. */
  readonly cancel: () => void
  /** The proxy ends. */
  readonly stop: () => void
}

/** The answering side of a client of 2026-07-28: one that says with each request who it is. */
export class ModernParty implements Connection {
  readonly desk: ModernDesk
  readonly context: ConnectContext
  readonly #transport: Transport
  readonly #onclose: (party: ModernParty) => void
  readonly #open = new BusyMap<string, OpenRequest>()

  constructor (desk: ModernDesk, transport: Transport, context: ConnectContext, onclose: (party: ModernParty) => void) {
    this.desk = desk
    this.context = context
    this.#transport = transport
    this.#onclose = onclose
    transport.onmessage = message => this.#receive(message)
  }

  close (): void {
    this.#transport.onmessage = undefined
    this.#onclose(this)
    for (const open of this.#takeOpen()) open.cancel()
  }

  /** Ends what is open, and says so. */
  stop (): void {
    for (const open of this.#takeOpen()) open.stop()
  }

  /** What is said about a request; a promise when the client reads too slowly. */
  say (rawId: string, message: Message): void | Promise<void> {
    return this.#transport.send(message, { relatedRequestId: rawId })
  }

  /** The answer to a request, which is not open any more. */
  answer (rawId: string, message: Message, options: SendOptions = { relatedRequestId: rawId }): void | Promise<void> {
    this.#open.delete(rawId)
    return this.#transport.send(message, options.relatedRequestId === rawId ? options : { ...options, relatedRequestId: rawId })
  }

  refuse (rawId: string, error: CodedError): void {
    const { statusCode, retryAfter } = error
    void this.answer(rawId, Message.error(rawId, toRpcError(error)), { relatedRequestId: rawId, status: statusCode, retryAfter, local: true })
  }

  /** From now on the request has somebody who answers it. */
  hold (rawId: string, open: OpenRequest): void {
    this.#open.set(rawId, open)
  }

  #receive (message: Message): void {
    // responses: this revision asks clients nothing outside of results
    if (message.kind === 'request') this.#request(message, message.rawId as string)
    else if (message.method === 'notifications/cancelled') this.#cancel(idKey(message.raw(CANCELLED_ID) ?? ''))
  }

  #cancel (rawId: string | undefined): void {
    const open = rawId === undefined ? undefined : this.#open.get(rawId)
    if (rawId === undefined || open === undefined) return
    this.#open.delete(rawId)
    open.cancel()
  }

  #request (message: Message, rawId: string): void {
    const refusal = this.#refusal(rawId)
    if (refusal !== undefined) {
      // the one that is open under this id stays
      void this.#transport.send(Message.error(rawId, toRpcError(refusal)), { relatedRequestId: rawId, status: refusal.statusCode, local: true })
      return
    }
    try {
      this.#dispatch(message, rawId, message.method as string)
    } catch (error) {
      this.#open.get(rawId)?.cancel()
      this.refuse(rawId, error as CodedError)
    }
  }

  #refusal (rawId: string): CodedError | undefined {
    if (this.#open.has(rawId)) return mcpError('MCP_ERR_ID_IN_USE', rawId)
    return this.#open.size >= MAX_OPEN ? mcpError('MCP_ERR_CALL_LIMIT', MAX_OPEN) : undefined
  }

  #dispatch (message: Message, rawId: string, method: string): void {
    if (REFUSED.has(method) || method.startsWith('tasks/')) throw mcpError('MCP_ERR_METHOD_NOT_FOUND', method)
    if (method === 'server/discover') discover(this, rawId)
    else if (method === 'subscriptions/listen') new ModernListen(this, message).open()
    else if (message.params?.['requestState'] === undefined) new ModernCall(new Asker(this, message), message).open()
    else this.#retry(message, openState(this.desk.seal, message, this.context.principal))
  }

  /** @throws MCP_ERR_REQUEST_STATE, MCP_ERR_INPUT, MCP_ERR_PARAMS */
  #retry (message: Message, state: RequestState): void {
    // judged before the call is taken, which has only this one chance
    const asker = new Asker(this, message)
    if (state.asked !== undefined) {
      this.#callAnew(asker, message, state, unvisited(message, state.asked))
      return
    }
    const call = this.desk.parked.take(state.call ?? '')
    if (call === undefined) throw refused('it has been used already, or its call is over')
    call.resume(asker, message)
  }

  /** A call that has failed since its user had to visit some URLs first. */
  #callAnew (asker: Asker, message: Message, state: RequestState, open: ReadonlyMap<string, string>): void {
    if (open.size === 0) {
      new ModernCall(asker, message).open()
      return
    }
    const again = { ...state, asked: Object.fromEntries(open), expires: Date.now() + this.desk.parkTimeout }
    void this.answer(asker.rawId, toInputRequired(asker.rawId, open, this.desk.seal.seal(again)))
  }

  #takeOpen (): OpenRequest[] {
    const all = [...this.#open.values()]
    this.#open.clear()
    return all
  }
}
