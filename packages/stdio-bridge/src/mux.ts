import { Message, mcpError, type CodedError, type ConnectContext, type Connection, type Transport } from '@mcp-proxy/protocol'
import { fromClient } from './client-to-server.js'
import { Hub, type HubOptions } from './hub.js'
import { CLIENT_HAS_LEFT, Peer } from './peer.js'
import { fromServer } from './server-to-client.js'
import { Supervisor, type SupervisorState } from './supervisor.js'
import type { Child } from './child.js'

/** Milliseconds that a server gets for what it does at its start. */
const SETTLE_TIMEOUT = 1000

const NONE: readonly never[] = []

export interface MuxOptions extends HubOptions {
  /** Milliseconds without a client after which the mux closes itself; `0` is never. */
  readonly idleTimeout: number
  /** Called when the last client has gone. */
  readonly onidle?: (() => void) | undefined
  /** Called when the child was lost while there was no client. */
  readonly onlost?: ((error: CodedError) => void) | undefined
  /** Called once, when a client has got the first answer. */
  readonly onanswered?: (() => void) | undefined
  /** Called once, when the mux closes. */
  readonly onclose: () => void
  /** Called once, when its child has ended after that. */
  readonly onended: () => void
}

/**
 * Connects clients to one server, and answers what was open when it dies. What crosses, and to whom, is decided in
 * `client-to-server.ts` and `server-to-client.ts`; when a child runs, in `supervisor.ts`. Knows nothing of HTTP.
 */
export class Mux {
  readonly #hub: Hub
  readonly #supervisor: Supervisor
  readonly #options: Pick<MuxOptions, 'idleTimeout' | 'onidle' | 'onlost' | 'onanswered' | 'onclose' | 'onended'>
  readonly #timer: NodeJS.Timeout
  /** Messages for a child that is not ready. */
  #waiting: Array<readonly [Peer, Message]> = []
  #waitingBytes = 0
  #idle: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined
  #principal: { readonly name: string | undefined } | undefined

  constructor (options: MuxOptions) {
    this.#options = options
    this.#hub = new Hub(options)
    this.#supervisor = new Supervisor(this.#hub, { ready: again => this.#ready(again), probed: () => this.#probed(), answered: () => this.#options.onanswered?.(), lost: error => this.#lost(error) })
    // one timer for all calls instead of one for each
    const { requestTimeout, startTimeout } = options.settings
    this.#timer = setInterval(() => this.#expire(), Math.min(1000, Math.ceil((requestTimeout || startTimeout) / 10), Math.ceil(startTimeout / 10)))
    this.#timer.unref()
  }

  get child (): Child | undefined { return this.#hub.child }
  get state (): SupervisorState { return this.#supervisor.state }
  get clients (): number { return this.#hub.peers.size }
  get calls (): number { return this.#hub.calls.size }
  /** The last lines that the child, or the one that was lost last, has written to stderr. */
  get stderr (): readonly string[] { return this.#hub.child?.stderrTail ?? this.#hub.lastStderr }
  get losses (): number { return this.#supervisor.losses }
  /** What the server answered to the handshake of the mux; `undefined` before, or when a client shakes hands itself. */
  get initializeAnswer (): Message | undefined { return this.#hub.initializeAnswer }
  /** Others may come: the client that it was opened for turned out not to need it alone. Before that one's first message has passed. */
  share (): void {
    this.#hub.exclusive = false
  }

  /** It serves one client alone. */
  get exclusive (): boolean { return this.#hub.exclusive }
  /** The server is spoken to without a handshake. */
  get modern (): boolean { return this.#hub.modern }

  /** Whether a client's log messages could be those of another client: a server does not say whose they are. */
  logsMeet (peer: Peer): boolean {
    for (const call of this.#hub.calls.logging) if (call.peer !== peer) return true
    return false
  }

  attach (transport: Transport, context: ConnectContext, peer: Peer = new Peer(transport, context.id)): Connection {
    clearTimeout(this.#idle)
    this.#hub.peers.add(peer)
    this.#hub.visited = true
    this.#principal ??= { name: context.principal }
    if (this.#principal.name !== context.principal) this.#hub.mixed = true
    transport.onmessage = message => this.#receive(peer, message)
    // on the stream of the client's first message, which comes in this turn: there it would be if the child had not been early
    if (this.#hub.spare) queueMicrotask(() => this.#hearEarly())
    else if (this.#hub.early.length > 0) this.#hearEarly()
    return { close: () => this.#detach(peer) }
  }

  /** Starts the child and says nothing to it: its one client will. Only for a server that is known to shake hands. */
  prepare (): void {
    this.#supervisor.prepare()
  }

  /**
   * Starts the child and shakes hands, unless that is done or under way.
   * @param initializeParams how the child is introduced to its client, as JSON text; the bridge's own words without
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE, MCP_ERR_CHILD_UNAVAILABLE, MCP_ERR_STOPPED
   */
  async start (initializeParams?: string): Promise<void> {
    const { refusal } = this.#supervisor
    if (refusal !== undefined) throw refusal
    if (initializeParams !== undefined) this.#supervisor.introduceAs(initializeParams)
    try {
      await this.#supervisor.start()
    } finally {
      // whoever has waited for this joins in the same turn
      setImmediate(() => this.#rest())
    }
  }

  /** Waits until the server has done what it does at its start; one that does not say so in time has done it. @throws MCP_ERR_CHILD_EXITED */
  async settle (): Promise<void> {
    await this.#hub.own.call('ping', '{}', SETTLE_TIMEOUT).catch((error: unknown) => { if (this.state !== 'ready') throw error })
  }

  async close (): Promise<void> {
    await (this.#closing ??= this.#close())
  }

  /** Lets a client go without ending a child that it had to itself: somebody else may have it next. */
  release (peer: Peer): void {
    const hub = this.#hub
    if (!hub.peers.delete(peer)) return
    hub.forget(peer)
    peer.transport.onmessage = undefined
    for (const [other, message] of this.#takeWaiting()) if (other !== peer) this.#wait(other, message)
    if (peer.calls.size > 0) for (const call of [...peer.calls.values()]) hub.abandon(call, 'the client has left')
    for (const childId of peer.callbacks.values()) hub.send(Message.error(childId, CLIENT_HAS_LEFT))
    if (peer.listens.size > 0) hub.listens.drop(peer)
    for (const uri of hub.subscriptions.drop(peer)) hub.own.tell('resources/unsubscribe', JSON.stringify({ uri }))
    this.#rest()
  }

  /** Tells the server the level of a client that had set it elsewhere. */
  setLogLevel (peer: Peer, level: string): void {
    peer.logLevel = level
    this.#hub.own.tell('logging/setLevel', JSON.stringify({ level }))
  }

  /** Without a client: ends in a while, or at once where its place is wanted. */
  #rest (): void {
    if (this.#hub.peers.size > 0 || this.#hub.exclusive || this.state === 'closed') return
    clearTimeout(this.#idle)
    if (this.#options.idleTimeout > 0) this.#idle = setTimeout(() => { void this.close() }, this.#options.idleTimeout).unref()
    this.#options.onidle?.()
  }

  async #close (): Promise<void> {
    const { peers } = this.#hub
    clearInterval(this.#timer)
    clearTimeout(this.#idle)
    const ended = this.#supervisor.close()
    this.#options.onclose()
    this.#failOpen(mcpError('MCP_ERR_STOPPED'))
    this.#hub.listens.finish()
    const leaving = [...peers]
    // gone before they are told, which they answer by leaving
    peers.clear()
    for (const peer of leaving) void peer.transport.close()
    await ended
    this.#options.onended()
  }

  #hearEarly (): void {
    for (const message of this.#hub.early.splice(0)) fromServer(this.#hub, message)
  }

  #detach (peer: Peer): void | Promise<void> {
    if (!this.#hub.peers.has(peer)) return
    if (!this.#hub.exclusive) {
      this.release(peer)
      return
    }
    this.#hub.peers.delete(peer)
    peer.transport.onmessage = undefined
    return this.close()
  }

  #ready (again: boolean): void {
    const { modern, peers } = this.#hub
    const waiting = this.#takeWaiting()
    for (const peer of [...peers]) {
      const { translate } = peer
      peer.translate = undefined
      if (modern && translate !== undefined) this.#handOver(peer, translate, waiting.filter(([other]) => other === peer).map(([, message]) => message))
    }
    for (const [peer, message] of waiting) if (peers.has(peer)) fromClient(this.#hub, peer, message)
    if (again) this.#announceChange()
  }

  /** The server shakes hands: so its one client does, in its own words. */
  #probed (): void {
    for (const [peer, message] of this.#takeWaiting()) if (this.#hub.peers.has(peer)) this.#receive(peer, message)
  }

  /** A client that shakes hands has come to a server that does not: what translates takes its place. */
  #handOver (peer: Peer, translate: (waiting: Message[]) => void, waiting: Message[]): void {
    this.#hub.peers.delete(peer)
    translate(waiting)
  }

  /** The server is another process now and may offer something else: clients look again. */
  #announceChange (): void {
    const { initializeAnswer, listens, modern, peers } = this.#hub
    if (modern) {
      listens.announce()
      return
    }
    const capabilities = initializeAnswer?.result?.['capabilities']
    if (capabilities === null || typeof capabilities !== 'object') return
    for (const kind of ['tools', 'prompts', 'resources']) {
      const offered: unknown = Reflect.get(capabilities, kind)
      if (offered === null || typeof offered !== 'object' || Reflect.get(offered, 'listChanged') !== true) continue
      const message = Message.notification(`notifications/${kind}/list_changed`)
      for (const peer of [...peers]) this.#hub.deliver(peer, message)
    }
  }

  #lost (error: CodedError): void {
    const hub = this.#hub
    this.#failOpen(error)
    for (const peer of [...hub.peers]) {
      // the client may be showing a dialog that nobody waits for any more
      for (const id of peer.callbacks.keys()) hub.deliver(peer, Message.notification('notifications/cancelled', { requestId: Number(id), reason: error.message }))
      peer.callbacks.clear()
    }
    if (hub.peers.size === 0 && this.state !== 'closed') this.#options.onlost?.(error)
  }

  #failOpen (error: CodedError): void {
    const waiting = this.#takeWaiting()
    for (const call of this.#hub.calls.drain()) this.#hub.fail(call, error)
    for (const [peer, message] of waiting) if (message.kind === 'request') this.#hub.refuse(peer, message.rawId as string, error)
  }

  #wait (peer: Peer, message: Message): void {
    this.#waiting.push([peer, message])
    this.#waitingBytes += message.bytes.length
    if (message.kind === 'request') peer.addWaiting(message.rawId as string)
  }

  #takeWaiting (): ReadonlyArray<readonly [Peer, Message]> {
    const waiting = this.#waiting
    // not the list itself: what comes while a caller goes through it would be both dealt with and kept
    if (waiting.length === 0) return NONE
    this.#waiting = []
    this.#waitingBytes = 0
    for (const [peer] of waiting) peer.clearWaiting()
    return waiting
  }

  #expire (): void {
    const { calls, events, log, settings } = this.#hub
    for (const call of calls.expired(Date.now())) {
      // it waits for its client, which has a time of its own for that
      if (call.peer.translated && call.peer.callbacks.size > 0) continue
      log.warn({ method: call.method, requestTimeout: settings.requestTimeout }, 'a call timed out')
      events.report('timeout', { server: settings.name, method: call.method })
      this.#hub.abandon(call, 'timeout')
      this.#hub.fail(call, mcpError('MCP_ERR_REQUEST_TIMEOUT', Date.now() - call.since))
    }
  }

  #receive (peer: Peer, message: Message): void {
    const refusal = message.kind === 'request' ? this.#refusal(peer, message.rawId as string) : undefined
    if (refusal !== undefined) {
      this.#hub.refuse(peer, message.rawId as string, refusal)
    } else if (this.#supervisor.refusal !== undefined || this.#hub.refusal !== undefined || this.#waitingBytes > this.#hub.settings.maxQueuedInput) {
      this.#hub.log.warn({ method: message.method, connection: peer.id }, 'dropped a message for a server that cannot take it')
    } else if (this.state === 'ready' || this.#opensWith(message)) {
      fromClient(this.#hub, peer, message)
    } else {
      this.#wait(peer, message)
      this.#supervisor.need()
    }
  }

  /** Why a request is not taken; `undefined` when it is. */
  #refusal (peer: Peer, rawId: string): CodedError | undefined {
    const { refusal, settings: { maxPendingCalls, name } } = this.#hub
    if (peer.isOpen(rawId)) return mcpError('MCP_ERR_ID_IN_USE', rawId)
    if (peer.open >= maxPendingCalls) return mcpError('MCP_ERR_CALL_LIMIT', maxPendingCalls)
    if (this.#waitingBytes > this.#hub.settings.maxQueuedInput) return mcpError('MCP_ERR_CHILD_BUSY', name)
    return refusal ?? this.#supervisor.refusal
  }

  /** An exclusive child is introduced by its client's own handshake, which goes through as it is. */
  #opensWith (message: Message): boolean {
    return this.#hub.exclusive && message.method === 'initialize' && this.#supervisor.open(message.raw(['params']) ?? '{}')
  }
}
