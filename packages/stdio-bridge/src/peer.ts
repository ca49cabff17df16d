import { BusyMap, type JsonRpcErrorObject, type Message, type Transport } from '@mcp-proxy/protocol'
import type { Call } from './calls.js'
import type { Listen } from './listens.js'

/** What a server hears that has asked a client which is not there any more. */
export const CLIENT_HAS_LEFT: JsonRpcErrorObject = { code: -32000, message: 'the client has left' }

/** What is only ever added by the peer itself. */
type Kept<K, V> = Omit<Map<K, V>, 'set'>

const NO_LISTENS: Kept<string, Listen> = new Map()
const NO_CALLBACKS: Kept<string, string> = new Map()

/** One client of a mux, and what the mux keeps for it. */
export class Peer {
  readonly transport: Transport
  /** Names the connection in logs. */
  readonly id: string
  /** Open calls by the client's id, as JSON text. */
  readonly calls: BusyMap<string, Call> = new BusyMap()
  // made when there is something to keep: a modern client is a peer for each call, and has none of these
  #listens: Map<string, Listen> | undefined
  #waiting: Set<string> | undefined
  #callbacks: Map<string, string> | undefined
  /** The least severe log level the client wants; `undefined` until it says so. */
  logLevel: string | undefined
  /** It has yet to take what it was sent. */
  behind = false
  /** Set while the era of the server is not known: takes a client that shakes hands to where a server without is spoken to. */
  translate: ((waiting: Message[]) => void) | undefined
  /** A translator, for a client of the other era. It has times of its own for calls that wait for input, and can tell a client what it would have to declare to be asked. */
  readonly translated: boolean
  readonly #newCallbackId: () => number

  /** @param newCallbackId where ids for requests of the server come from, when several children serve one client */
  constructor (transport: Transport, id: string, newCallbackId: () => number = counter(), translated: boolean = false) {
    this.translated = translated
    this.transport = transport
    this.id = id
    this.#newCallbackId = newCallbackId
  }

  /** Open subscriptions of a modern client by its id, as JSON text. */
  get listens (): Kept<string, Listen> { return this.#listens ?? NO_LISTENS }

  /** Requests of the child that this client has to answer: the id the client sees to the child's own, both JSON text. */
  get callbacks (): Kept<string, string> { return this.#callbacks ?? NO_CALLBACKS }

  /** Requests without an answer: calls, subscriptions, and what waits for a child. */
  get open (): number { return this.calls.size + this.listens.size + (this.#waiting?.size ?? 0) }

  /** Whether a request of that id has no answer yet. */
  isOpen (rawId: string): boolean {
    return this.calls.has(rawId) || this.listens.has(rawId) || this.#waiting?.has(rawId) === true
  }

  addListen (listen: Listen): void {
    this.#listens ??= new Map()
    this.#listens.set(listen.rawId, listen)
  }

  /** A request waits for a child. */
  addWaiting (rawId: string): void {
    this.#waiting ??= new Set()
    this.#waiting.add(rawId)
  }

  /** None waits any more. */
  clearWaiting (): void {
    this.#waiting = undefined
  }

  /** A fresh id for a request of the child: never used twice in a session, also not after the child was started anew. */
  openCallback (childId: string): string {
    const id = String(this.#newCallbackId())
    this.#callbacks ??= new Map()
    this.#callbacks.set(id, childId)
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
