import type { Transport } from '@mcp-proxy/protocol'
import type { Call } from './calls.js'

/** One client of a mux, and what the mux keeps for it. */
export class Peer {
  readonly transport: Transport
  /** Names the connection in logs. */
  readonly id: string
  /** Open calls by the client's id, as JSON text. */
  readonly calls: Map<string, Call> = new Map()
  /** Ids of requests that wait for a child. */
  readonly waiting: Set<string> = new Set()
  /** Requests of the child that this client has to answer: the id the client sees to the child's own, both JSON text. */
  readonly callbacks: Map<string, string> = new Map()
  /** The least severe log level the client wants; `undefined` until it says so. */
  logLevel: string | undefined
  readonly #newCallbackId: () => number

  /** @param newCallbackId where ids for requests of the server come from, when several children serve one client */
  constructor (transport: Transport, id: string, newCallbackId: () => number = counter()) {
    this.transport = transport
    this.id = id
    this.#newCallbackId = newCallbackId
  }

  /** A fresh id for a request of the child: never used twice in a session, also not after the child was started anew. */
  openCallback (childId: string): string {
    const id = String(this.#newCallbackId())
    this.callbacks.set(id, childId)
    return id
  }

  /** The client's only open call, the one thing a message of an exclusive child can be about; `undefined` when there are several. */
  get onlyCall (): string | undefined {
    if (this.calls.size !== 1) return undefined
    const [id] = this.calls.keys()
    return id
  }
}

function counter (): () => number {
  let next = 1
  return () => next++
}
