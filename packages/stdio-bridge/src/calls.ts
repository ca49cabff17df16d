import { randomInt } from 'node:crypto'
import { BusyMap, BusySet, LOG_LEVEL_KEY, REQUEST_PROGRESS_TOKEN, idKey, metaOf, type Message } from '@mcp-proxy/protocol'
import type { Peer } from './peer.js'

/** A client's request that a child is working on. */
export interface Call {
  /** The id that the child knows, as JSON text. */
  readonly id: string
  readonly peer: Peer
  /** The client's id, as JSON text. */
  readonly rawId: string
  readonly method: string
  /** The token under which the client wants progress, as JSON text. */
  readonly progressToken: string | undefined
  /** `Date.now()` at which it came, or at which its client was last heard about it. */
  since: number
  /** `Date.now()` at which it is given up; `Infinity` is never. */
  deadline: number
  /** It asks for log messages of its own (2026-07-28, "Logging"). */
  readonly logs: boolean
  /** Called when the call has failed, whatever the reason. */
  readonly onfailure: (() => void) | undefined
}

export interface CallsOptions {
  /** Milliseconds until a call is given up; `0` is never. */
  readonly timeout: number
  /** Progress starts that time anew. */
  readonly renew: boolean
  /** Milliseconds until a call is given up whatever progress it makes; `0` is never. */
  readonly total: number
  /**
   * Leave progress tokens as the client chose them: with one client they cannot clash, and progress may go on after the
   * answer, for a task.
   */
  readonly keepTokens: () => boolean
}

/** The open calls of one child. Each has an id of its own there, so equal ids of different clients never meet. */
export class Calls {
  readonly #options: CallsOptions
  readonly #byId = new BusyMap<string, Call>()
  readonly #byToken = new BusyMap<string, Call>()
  readonly #logging = new BusySet<Call>()
  // ids that cannot be guessed: a child that reads JSON loosely must not be talked into answering somebody else's call
  #next = randomInt(2 ** 30)

  constructor (options: CallsOptions) {
    this.#options = options
  }

  get size (): number { return this.#byId.size }

  /** The call that is open, when it is the only one. */
  get only (): Call | undefined {
    if (this.#byId.size !== 1) return undefined
    const [call] = this.#byId.values()
    return call
  }

  /** No other client has a call open. */
  areAllOf (peer: Peer): boolean {
    for (const call of this.#byId.values()) if (call.peer !== peer) return false
    return true
  }

  open (peer: Peer, request: Message, { onfailure, timeout = this.#options.timeout }: { onfailure?: (() => void) | undefined, timeout?: number | undefined } = {}): Call {
    const id = String(this.#next++)
    const since = Date.now()
    const meta = metaOf(request)
    const call: Call = {
      id,
      peer,
      rawId: request.rawId as string,
      method: request.method as string,
      progressToken: Object.hasOwn(meta, 'progressToken') ? request.raw(REQUEST_PROGRESS_TOKEN) : undefined,
      since,
      deadline: this.#deadline(since, since, timeout),
      logs: Object.hasOwn(meta, LOG_LEVEL_KEY),
      onfailure,
    }
    if (call.logs) this.#logging.add(call)
    this.#byId.set(id, call)
    peer.calls.set(call.rawId, call)
    const token = this.tokenOf(call)
    if (token !== undefined) this.#byToken.set(token, call)
    return call
  }

  /** The progress token that the child knows the call under, as JSON text. */
  tokenOf (call: Call): string | undefined {
    if (call.progressToken === undefined) return undefined
    return this.#options.keepTokens() ? idKey(call.progressToken) : call.id
  }

  byId (id: string | undefined): Call | undefined {
    return id === undefined ? undefined : this.#byId.get(id)
  }

  byToken (rawToken: string | undefined): Call | undefined {
    const token = rawToken === undefined ? undefined : idKey(rawToken)
    return token === undefined ? undefined : this.#byToken.get(token)
  }

  /** Open calls that ask for log messages. */
  get logging (): Iterable<Call> { return this.#logging }

  close (call: Call): void {
    this.#byId.delete(call.id)
    if (call.logs) this.#logging.delete(call)
    if (call.peer.calls.get(call.rawId) === call) call.peer.calls.delete(call.rawId)
    const token = this.tokenOf(call)
    if (token !== undefined && this.#byToken.get(token) === call) this.#byToken.delete(token)
  }

  /** The call is making progress: its time starts anew, where that is wanted. */
  renew (call: Call): void {
    if (this.#options.renew) call.deadline = this.#deadline(call.since, Date.now(), this.#options.timeout)
  }

  /** The call has waited for its client: all of its time starts anew. */
  restart (call: Call): void {
    if (call.deadline === Infinity) return
    call.since = Date.now()
    call.deadline = this.#deadline(call.since, call.since, this.#options.timeout)
  }

  /** Calls whose time is up. */
  expired (now: number): Call[] {
    return [...this.#byId.values()].filter(call => call.deadline <= now)
  }

  /** Closes and returns all of them. */
  drain (): Call[] {
    const all = [...this.#byId.values()]
    for (const call of all) this.close(call)
    return all
  }

  #deadline (since: number, now: number, timeout: number): number {
    if (timeout === Infinity) return Infinity
    const { total } = this.#options
    return Math.min(timeout === 0 ? Infinity : now + timeout, total === 0 ? Infinity : since + total)
  }
}

/** Whether a request asks for log messages: those of modern clients do, one by one. */
export function wantsLogs (request: Message): boolean {
  return Object.hasOwn(metaOf(request), LOG_LEVEL_KEY)
}
