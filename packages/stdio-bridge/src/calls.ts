import { REQUEST_PROGRESS_TOKEN, idKey, type Message } from '@mcp-proxy/protocol'
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
  /** `Date.now()` at which it is given up; `Infinity` is never. */
  readonly deadline: number
  /** Runs before a successful answer goes to the client. */
  readonly onsuccess: (() => void) | undefined
}

/** The open calls of one child. Each has an id of its own there, so equal ids of different clients never meet. */
export class Calls {
  readonly #timeout: number
  readonly #keepTokens: boolean
  readonly #byId = new Map<string, Call>()
  readonly #byToken = new Map<string, Call>()
  #next = 1

  /**
   * @param timeout milliseconds, `0` is never
   * @param keepTokens leave progress tokens as the client chose them: with one client they cannot clash, and progress may
   *   go on after the answer, for a task
   */
  constructor (timeout: number, keepTokens: boolean) {
    this.#timeout = timeout
    this.#keepTokens = keepTokens
  }

  get size (): number { return this.#byId.size }

  open (peer: Peer, request: Message, onsuccess?: () => void): Call {
    const id = String(this.#next++)
    const call: Call = {
      id,
      peer,
      rawId: request.rawId as string,
      method: request.method as string,
      progressToken: readProgressToken(request),
      deadline: this.#timeout === 0 ? Infinity : Date.now() + this.#timeout,
      onsuccess,
    }
    this.#byId.set(id, call)
    peer.calls.set(call.rawId, call)
    const token = this.tokenOf(call)
    if (token !== undefined) this.#byToken.set(token, call)
    return call
  }

  /** The progress token that the child knows the call under, as JSON text. */
  tokenOf (call: Call): string | undefined {
    if (call.progressToken === undefined) return undefined
    return this.#keepTokens ? idKey(call.progressToken) : call.id
  }

  byId (id: string | undefined): Call | undefined {
    return id === undefined ? undefined : this.#byId.get(id)
  }

  byToken (rawToken: string | undefined): Call | undefined {
    const token = rawToken === undefined ? undefined : idKey(rawToken)
    return token === undefined ? undefined : this.#byToken.get(token)
  }

  close (call: Call): void {
    this.#byId.delete(call.id)
    call.peer.calls.delete(call.rawId)
    const token = this.tokenOf(call)
    if (token !== undefined && this.#byToken.get(token) === call) this.#byToken.delete(token)
  }

  /** Calls whose time is up. All have the same time to live, so the oldest come first. */
  expired (now: number): Call[] {
    const found: Call[] = []
    for (const call of this.#byId.values()) {
      if (call.deadline > now) break
      found.push(call)
    }
    return found
  }

  /** Closes and returns all of them. */
  drain (): Call[] {
    const all = [...this.#byId.values()]
    for (const call of all) this.close(call)
    return all
  }
}

function readProgressToken (request: Message): string | undefined {
  const meta = request.params?.['_meta']
  if (meta === null || typeof meta !== 'object' || !Object.hasOwn(meta, 'progressToken')) return undefined
  return request.raw(REQUEST_PROGRESS_TOKEN)
}
