import { BusySet, Message, mcpError, toRpcError, type CodedError, type FastifyBaseLogger, type SendOptions } from '@mcp-proxy/protocol'
import { Calls, type Call } from './calls.js'
import { Listens } from './listens.js'
import { OwnCalls } from './own-calls.js'
import { Subscriptions } from './subscriptions.js'
import type { Child } from './child.js'
import type { ServerEra } from './server-era.js'
import type { BridgeEvents } from './events.js'
import type { BridgeSettings } from './options.js'
import type { Peer } from './peer.js'

export interface HubOptions {
  readonly settings: BridgeSettings
  readonly log: FastifyBaseLogger
  readonly events: BridgeEvents
  /** How the server is to be spoken to; shared by all children of a bridge. */
  readonly era: ServerEra
  /** One client has the child to itself: its own handshake goes through, and whatever the child says is meant for it. */
  readonly exclusive: boolean
}

/** Milliseconds that a child which others may use waits for a reader. */
const PATIENCE = 1000

/** What the two directions of a mux share: the child, the clients, and what is open between them. */
export class Hub {
  readonly settings: BridgeSettings
  readonly log: FastifyBaseLogger
  readonly events: BridgeEvents
  exclusive: boolean
  readonly era: ServerEra
  readonly peers: BusySet<Peer> = new BusySet()
  readonly calls: Calls
  readonly subscriptions: Subscriptions = new Subscriptions()
  /** Subscriptions of clients of a server without handshake. */
  readonly listens: Listens
  readonly own: OwnCalls
  child: Child | undefined
  /** What the child that was lost last had written to stderr. */
  lastStderr: readonly string[] = []
  /** The child has shaken hands, with the mux or with its client. */
  introduced = false
  /** `Date.now()` of the last message of the server. */
  heardAt = 0
  /** What the server answered to a handshake of the mux; `undefined` while only a client's own has been seen. */
  initializeAnswer: Message | undefined
  /** What a server without handshake has told of itself. */
  discoverAnswer: Message | undefined
  /** What the server of one client has asked, or that of a spare has said, before that client was here. */
  readonly early: Message[] = []
  /** Its child was started before its one client came: what the server says until then is kept for that client. */
  spare = false
  /** A client has been here: what the server asks later, when none is, is not for the next. */
  visited = false
  /** Whom the child waits for, and what ends that. */
  readonly #waits = new Set<{ readonly peer: Peer, readonly end: () => void }>()
  /** Clients of different principals have used the child. */
  mixed = false

  /** Called for each call that the server has answered: it is of use. */
  onworked: () => void = () => {}

  constructor ({ settings, log, events, exclusive, era }: HubOptions) {
    this.settings = settings
    this.log = log
    this.events = events
    this.exclusive = exclusive
    this.era = era
    this.calls = new Calls({ timeout: settings.requestTimeout, total: settings.maxTotalTimeout, renew: settings.resetTimeoutOnProgress, keepTokens: () => this.exclusive })
    this.own = new OwnCalls(message => this.send(message))
    this.listens = new Listens({ send: message => this.send(message), deliver: (peer, message, about) => this.deliver(peer, message, { relatedRequestId: about }) })
  }

  /** The server is spoken to without a handshake. */
  get modern (): boolean { return this.era.known === 'modern' }

  /** To the server. */
  send (message: Message): void {
    this.child?.send(message)
  }

  /** Why the server cannot be sent more now; `undefined` when it can. One message always fits. */
  get refusal (): CodedError | undefined {
    if (this.child === undefined || this.child.queuedInput <= this.settings.maxQueuedInput) return undefined
    return Object.assign(mcpError('MCP_ERR_CHILD_BUSY', this.settings.name), { retryAfter: 1 })
  }

  /** To a client. */
  deliver (peer: Peer, message: Message, options?: SendOptions): void {
    const full = peer.transport.send(message, options)
    // an answer may have been the last that the peer was here for: its child may be somebody else's by now
    if (full === undefined || !this.peers.has(peer)) return
    // the only reader is slow: let the child wait for it instead of keeping what it says
    if (this.exclusive) this.#waitFor(peer, full)
    // one that has not taken what there was in time has its queue, which is bounded
    else if (!peer.behind && this.calls.areAllOf(peer)) this.#waitFor(peer, full, PATIENCE)
  }

  /** The child waits until a client has taken what it was sent, for so many milliseconds at most. */
  #waitFor (peer: Peer, full: Promise<void>, patience?: number): void {
    const resume = this.child?.pause()
    if (resume === undefined) return
    peer.behind = true
    const end = (): void => {
      clearTimeout(timer)
      this.#waits.delete(wait)
      resume()
    }
    const timer = patience === undefined ? undefined : setTimeout(end, patience).unref()
    const wait = { peer, end }
    this.#waits.add(wait)
    const taken = (): void => {
      peer.behind = false
      end()
    }
    full.then(taken, taken)
  }

  /** A client asks for something: what the child says now may be for it, and others are not waited for. */
  hurry (peer: Peer): void {
    if (this.#waits.size === 0) return
    for (const wait of [...this.#waits]) if (wait.peer !== peer) wait.end()
  }

  /** A client has gone: it is not waited for. */
  forget (peer: Peer): void {
    if (this.#waits.size === 0) return
    for (const wait of [...this.#waits]) if (wait.peer === peer) wait.end()
  }

  /** Answers a call that the server has seen with an error of the proxy's own. To HTTP it is an answer like any other. */
  fail (call: Call, error: CodedError): void {
    call.onfailure?.()
    if (call.method === 'initialize') {
      this.era.giveUp()
      this.refuse(call.peer, call.rawId, error)
    } else {
      this.deliver(call.peer, Message.error(call.rawId, toRpcError(error)), { local: true })
    }
  }

  /** Answers a request that never reached the server: HTTP has a status for that. */
  refuse (peer: Peer, rawId: string, error: CodedError): void {
    this.deliver(peer, Message.error(rawId, toRpcError(error)), { status: error.statusCode, retryAfter: error.retryAfter, local: true })
  }

  /** Gives a call up and tells the server so. */
  abandon (call: Call, reason: string): void {
    this.calls.close(call)
    if (call.method === 'initialize') return // must not be cancelled (2025-11-25, "Cancellation")
    this.send(Message.notification('notifications/cancelled', { requestId: Number(call.id), reason }))
  }
}
