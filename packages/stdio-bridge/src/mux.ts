import { Message, mcpError, type CodedError, type ConnectContext, type Connection, type FastifyBaseLogger, type Transport } from '@mcp-proxy/protocol'
import { Child, type ChildExit } from './child.js'
import { fromClient } from './client-to-server.js'
import { INITIALIZED, sharedInitialize } from './handshake.js'
import { Hub } from './hub.js'
import { mostVerbose } from './log-levels.js'
import { Peer } from './peer.js'
import { fromServer, fromServerOversize } from './server-to-client.js'
import type { BridgeSettings } from './options.js'

/**
 * - `idle`: no child; the next message starts one.
 * - `starting`: a child is starting or shaking hands; messages wait.
 * - `ready`: messages flow.
 * - `closed`: for good.
 */
export type MuxState = 'idle' | 'starting' | 'ready' | 'closed'

export interface MuxOptions {
  readonly settings: BridgeSettings
  readonly log: FastifyBaseLogger
  /** One client has the child to itself: its own handshake goes through, and whatever the child says is meant for it. */
  readonly exclusive: boolean
  /** Called once when the mux is closed and its child has ended. */
  readonly onclose?: (() => void) | undefined
}

/**
 * Connects clients to one server: starts a child when it is needed, shakes hands with it, and answers what was open when
 * it dies. What crosses, and to whom, is decided in `client-to-server.ts` and `server-to-client.ts`. Knows nothing of HTTP.
 */
export class Mux {
  readonly #hub: Hub
  readonly #onclose: (() => void) | undefined
  readonly #timer: NodeJS.Timeout | undefined
  #state: MuxState = 'idle'
  #starting: Promise<void> | undefined
  #waiting: Array<readonly [Peer, Message]> = []
  /** Parameters of the handshake, as JSON text: the client's own when it has the child to itself. */
  #initializeParams: string | undefined
  #principal: { readonly name: string | undefined } | undefined

  constructor ({ settings, log, exclusive, onclose }: MuxOptions) {
    this.#hub = new Hub(settings, log, exclusive)
    this.#onclose = onclose
    if (settings.requestTimeout > 0) {
      // one timer for all calls instead of one for each
      this.#timer = setInterval(() => this.#expire(), Math.min(1000, Math.ceil(settings.requestTimeout / 10)))
      this.#timer.unref()
    }
  }

  get child (): Child | undefined { return this.#hub.child }
  get state (): MuxState { return this.#state }
  get clients (): number { return this.#hub.peers.size }
  get calls (): number { return this.#hub.calls.size }

  attach (transport: Transport, context: ConnectContext): Connection {
    const peer = new Peer(transport, context.id)
    this.#hub.peers.add(peer)
    this.#principal ??= { name: context.principal }
    if (this.#principal.name !== context.principal) this.#hub.mixed = true
    transport.onmessage = message => this.#receive(peer, message)
    transport.onclose = () => { void this.#detach(peer) }
    return { close: () => this.#detach(peer) }
  }

  /**
   * Starts the child and shakes hands, unless that is done or under way.
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE, MCP_ERR_STOPPED
   */
  async start (): Promise<void> {
    if (this.#state === 'ready') return
    if (this.#state === 'closed') throw mcpError('MCP_ERR_STOPPED')
    await (this.#starting ??= this.#start().finally(() => { this.#starting = undefined }))
  }

  async close (): Promise<void> {
    const { child, peers } = this.#hub
    if (this.#state !== 'closed') {
      this.#state = 'closed'
      clearInterval(this.#timer)
      this.#failOpen(mcpError('MCP_ERR_STOPPED'))
      for (const peer of [...peers]) void peer.transport.close()
      peers.clear()
    }
    await child?.stop()
    this.#onclose?.()
  }

  async #start (): Promise<void> {
    this.#state = 'starting'
    const child = this.#spawn()
    try {
      await this.#handshake()
    } catch (cause) {
      const error = isCoded(cause) ? cause : mcpError('MCP_ERR_CHILD_HANDSHAKE', this.#hub.settings.name, String(cause), { cause })
      // when the child has exited, that has been dealt with and is the reason
      if (this.#hub.child === child) this.#lose(Object.assign(error, { stderr: child.stderrTail }))
      await child.stop()
      throw error
    }
    this.#restore()
    this.#state = 'ready'
    const waiting = this.#waiting
    this.#waiting = []
    for (const [peer, message] of waiting) if (this.#hub.peers.has(peer)) fromClient(this.#hub, peer, message)
  }

  #spawn (): Child {
    const { settings, log } = this.#hub
    const child: Child = new Child(settings, log, {
      message: message => fromServer(this.#hub, message),
      oversize: (head, tail) => fromServerOversize(this.#hub, head, tail),
      exit: exit => this.#exited(child, exit),
    })
    this.#hub.child = child
    log.info({ childPid: child.pid }, 'server started')
    return child
  }

  async #handshake (): Promise<void> {
    const { own, settings } = this.#hub
    this.#initializeParams ??= sharedInitialize()
    const answer = await own.call('initialize', this.#initializeParams, settings.startTimeout)
    if (answer.error !== undefined) throw mcpError('MCP_ERR_CHILD_HANDSHAKE', settings.name, answer.error.message)
    this.#hub.initializeAnswer = answer
    this.#hub.send(INITIALIZED)
  }

  /** A child that replaces another learns what clients had told the first. */
  #restore (): void {
    const { own, peers, subscriptions } = this.#hub
    const level = mostVerbose([...peers].map(peer => peer.logLevel))
    if (level !== undefined) own.tell('logging/setLevel', JSON.stringify({ level }))
    for (const uri of subscriptions.uris) own.tell('resources/subscribe', JSON.stringify({ uri }))
  }

  #exited (child: Child, exit: ChildExit): void {
    const { log, settings } = this.#hub
    const details = { childPid: child.pid, code: exit.code, signal: exit.signal, err: exit.error }
    if (this.#state === 'closed') log.debug(details, 'server ended')
    else log.warn(details, 'server ended')
    if (this.#hub.child !== child) return
    const how = exit.error?.message ?? (exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`)
    const error = mcpError(exit.error === undefined ? 'MCP_ERR_CHILD_EXITED' : 'MCP_ERR_CHILD_START', settings.name, how, { cause: exit.error })
    this.#lose(Object.assign(error, { stderr: child.stderrTail }))
  }

  /** The child is gone: answers all that was open, so that nobody waits for it. */
  #lose (error: CodedError): void {
    const hub = this.#hub
    hub.child = undefined
    if (this.#state !== 'closed') this.#state = 'idle'
    this.#failOpen(error)
    hub.own.fail(error)
    for (const peer of hub.peers) {
      // the client may be showing a dialog that nobody waits for any more
      for (const id of peer.callbacks.keys()) hub.deliver(peer, Message.notification('notifications/cancelled', { requestId: Number(id), reason: error.message }))
      peer.callbacks.clear()
    }
  }

  #failOpen (error: CodedError): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const call of this.#hub.calls.drain()) this.#hub.fail(call, error)
    for (const [peer, message] of waiting) if (message.kind === 'request') this.#hub.refuse(peer, message.rawId as string, error)
  }

  #expire (): void {
    const { calls, log, settings: { requestTimeout } } = this.#hub
    for (const call of calls.expired(Date.now())) {
      log.warn({ method: call.method, requestTimeout }, 'a call timed out')
      this.#hub.abandon(call, 'timeout')
      this.#hub.fail(call, mcpError('MCP_ERR_REQUEST_TIMEOUT', requestTimeout))
    }
  }

  #receive (peer: Peer, message: Message): void {
    if (this.#state === 'ready' || this.#opensWith(message)) {
      fromClient(this.#hub, peer, message)
    } else if (this.#state !== 'closed') {
      this.#waiting.push([peer, message])
      this.start().catch((err: unknown) => this.#hub.log.error({ err }, 'server could not be started'))
    } else if (message.kind === 'request') {
      this.#hub.refuse(peer, message.rawId as string, mcpError('MCP_ERR_STOPPED'))
    }
  }

  /** An exclusive child is introduced by its client's own handshake, which goes through as it is. */
  #opensWith (message: Message): boolean {
    if (!this.#hub.exclusive || this.#state !== 'idle' || message.method !== 'initialize' || this.#initializeParams !== undefined) return false
    this.#initializeParams = message.raw(['params']) ?? '{}'
    this.#spawn()
    this.#state = 'ready'
    return true
  }

  async #detach (peer: Peer): Promise<void> {
    const hub = this.#hub
    if (!hub.peers.delete(peer)) return
    peer.transport.onmessage = undefined
    peer.transport.onclose = undefined
    if (hub.exclusive) {
      await this.close()
      return
    }
    for (const call of [...peer.calls.values()]) hub.abandon(call, 'the client has left')
    for (const uri of hub.subscriptions.drop(peer)) hub.own.tell('resources/unsubscribe', JSON.stringify({ uri }))
  }
}

function isCoded (error: unknown): error is CodedError {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('MCP_ERR_')
}
