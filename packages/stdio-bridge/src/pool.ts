import { Message, mcpError, toRpcError, type CodedError, type Connect, type ConnectContext, type Connection, type FastifyBaseLogger, type Transport } from '@mcp-proxy/protocol'
import { Backlog } from './backlog.js'
import { answerBeforeHandshake } from './handshake.js'
import { SHARED, isolationKey } from './isolation.js'
import { LeaseRouter } from './lease-router.js'
import { Mux } from './mux.js'
import { DEFAULT_CHILD_IDLE_TIMEOUT, type BridgeSettings } from './options.js'
import { pass } from './pass.js'
import { Slots } from './slots.js'
import { WarmPool } from './warm-pool.js'
import type { BridgeEvents } from './events.js'
import type { SupervisorState } from './supervisor.js'

interface NewMux {
  exclusive: boolean
  idleTimeout: number
  forget: () => void
  onlost?: () => void
  onended?: () => void
}

/** What the bridge knows of one child. */
export interface ChildStatus {
  /** What the child is shared by: everybody, the clients of one key (a principal, say), or one session or call. */
  readonly scope: 'shared' | 'key' | 'session'
  readonly state: SupervisorState
  readonly pid: number | undefined
  /** Clients that are connected to it. */
  readonly clients: number
  /** Calls that it is working on. */
  readonly calls: number
  /** Processes that were lost in its place. */
  readonly losses: number
  /** The last lines it wrote to stderr. */
  readonly stderr: readonly string[]
}

/** Decides which child serves whom, by the bridge's isolation, and how many there are. */
export class Pool {
  readonly #settings: BridgeSettings
  readonly #log: FastifyBaseLogger
  readonly #events: BridgeEvents
  readonly #slots: Slots
  /** Children that several clients use, by what those have in common. The order is that of use. */
  readonly #shared = new Map<string, Mux>()
  readonly #exclusive = new Set<Mux>()
  /** All of them, also those that are forgotten already and whose child is being ended. */
  readonly #running = new Set<Mux>()
  readonly #warm: WarmPool
  #closed = false

  constructor (settings: BridgeSettings, log: FastifyBaseLogger, events: BridgeEvents) {
    this.#settings = settings
    this.#log = log
    this.#events = events
    this.#slots = new Slots(settings.maxChildren, settings.queueTimeout)
    this.#warm = new WarmPool({
      size: settings.warm.size,
      recycleAfter: settings.warm.recycleAfter,
      name: settings.name,
      max: settings.maxChildren,
      timeout: settings.queueTimeout,
      restart: settings.restart,
      open: on => this.#openExclusive(settings, { onlost: on.lost, onended: on.ended }),
      log,
    })
  }

  readonly connect: Connect = (transport, context) => {
    let connection: Connection | undefined
    // let go of once it is placed: the context holds the whole HTTP request, the connection lives much longer
    let pending: ConnectContext | undefined = context
    let closed = false
    // a client shows by its first message what kind of child it needs
    const first = (message: Message): void => {
      if (pending === undefined) return
      const early = pending.answers === false ? undefined : answerBeforeHandshake(message)
      if (early !== undefined) {
        void transport.send(early)
        return
      }
      const place = this.#tryPlace(transport, pending, message)
      if (!(place instanceof Promise)) {
        pending = undefined
        connection = place
        pass(transport, message)
        return
      }
      const kept = new Backlog(this.#settings, message)
      transport.onmessage = later => { if (!kept.add(later)) this.#refuse(transport, later, mcpError('MCP_ERR_CALL_LIMIT', this.#settings.maxPendingCalls)) }
      void place.then((granted) => {
        if (closed) {
          void granted?.close()
        } else if (granted === undefined) {
          // the next message tries again
          transport.onmessage = first
          for (const message of kept.messages) this.#refuse(transport, message, mcpError('MCP_ERR_CHILD_LIMIT', this.#settings.maxChildren))
        } else {
          pending = undefined
          connection = granted
          for (const message of kept.messages) pass(transport, message)
        }
      })
    }
    transport.onmessage = first
    return {
      close: async () => {
        closed = true
        pending = undefined
        transport.onmessage = undefined
        await connection?.close()
      }
    }
  }

  /**
   * Starts a child and shakes hands with it, to know early that it works. It stays if it can be of use later.
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE
   */
  async start (): Promise<void> {
    const { isolation } = this.#settings
    if (isolation === 'shared' || isolation === 'auto') {
      const open = this.#shared.get(SHARED)
      if (open !== undefined) await open.start()
      else if (await this.#room()) await this.#openShared(SHARED, this.#settings).start()
    } else if (isolation === 'request') {
      const lease = await this.#warm.lease('')
      if (lease === undefined) throw mcpError('MCP_ERR_CHILD_LIMIT', this.#settings.maxChildren)
      lease.release('unused')
    } else if (await this.#room()) {
      const trial = this.#openExclusive(this.#settings)
      try {
        await trial.start()
      } finally {
        await trial.close()
      }
    }
  }

  status (): ChildStatus[] {
    const describe = (mux: Mux, scope: ChildStatus['scope']): ChildStatus => ({
      scope, state: mux.state, pid: mux.child?.pid, clients: mux.clients, calls: mux.calls, losses: mux.losses, stderr: [...mux.stderr]
    })
    return [
      ...[...this.#shared].map(([key, mux]) => describe(mux, key === SHARED ? 'shared' : 'key')),
      ...[...this.#exclusive].map(mux => describe(mux, 'session')),
    ]
  }

  /** Clients that wait for a child. */
  get queued (): number { return this.#slots.waiting + this.#warm.waiting }

  async close (): Promise<void> {
    this.#closed = true
    this.#warm.close()
    await Promise.all([...this.#running].map(mux => mux.close()))
  }

  /** As {@link #place}; functions of the app's may throw, and then their client is told. */
  #tryPlace (transport: Transport, context: ConnectContext, first: Message): Connection | Promise<Connection | undefined> {
    try {
      return this.#place(transport, context, first)
    } catch (cause) {
      this.#log.error({ err: cause }, 'isolation or childEnv has failed for a client')
      const error = mcpError('MCP_ERR_CHILD_START', this.#settings.name, 'its options failed for this client', { cause })
      transport.onmessage = message => this.#refuse(transport, message, error)
      return { close: async () => {} }
    }
  }

  /** Finds what answers a client; a promise where it has to wait for room, of nothing when there was none in time. */
  #place (transport: Transport, context: ConnectContext, first: Message): Connection | Promise<Connection | undefined> {
    if (this.#settings.isolation === 'request') {
      const { maxChildren, maxPendingCalls } = this.#settings
      return new LeaseRouter({ pool: this.#warm, maxChildren, maxPendingCalls }, transport, context)
    }
    const key = isolationKey(this.#settings, context, first)
    const open = key === undefined ? undefined : this.#shared.get(key)
    if (key !== undefined && open !== undefined) {
      this.#touch(key, open)
      return open.attach(transport, context)
    }
    const settings = this.#settingsFor(context)
    const attach = (): Connection => (key === undefined ? this.#openExclusive(settings) : this.#openShared(key, settings)).attach(transport, context)
    const room = this.#room()
    return room === true ? attach() : room.then(granted => granted ? attach() : undefined)
  }

  /** Takes room for one more child; one that serves nobody makes way. */
  #room (): true | Promise<boolean> {
    if (this.#slots.taken >= this.#settings.maxChildren) {
      for (const [key, mux] of this.#shared) {
        if (mux.clients > 0 || mux.calls > 0) continue
        this.#shared.delete(key)
        void mux.close()
        break
      }
    }
    return this.#slots.take()
  }

  #settingsFor (context: ConnectContext): BridgeSettings {
    const { childEnv } = this.#settings
    return childEnv === undefined ? this.#settings : { ...this.#settings, env: { ...this.#settings.env, ...childEnv(context) } }
  }

  /** Opens what was given room for, unless somebody has opened it while the room was waited for. */
  #openShared (key: string, settings: BridgeSettings): Mux {
    const open = this.#shared.get(key)
    if (open !== undefined) {
      this.#slots.give()
      return open
    }
    // the child of everybody stays, unless told otherwise: it may hold state, and somebody will come again
    const idleTimeout = settings.childIdleTimeout ?? (key === SHARED ? 0 : DEFAULT_CHILD_IDLE_TIMEOUT)
    const mux = this.#newMux(settings, { exclusive: false, idleTimeout, forget: () => { if (this.#shared.get(key) === mux) this.#shared.delete(key) } })
    this.#shared.set(key, mux)
    if (this.#closed) void mux.close()
    return mux
  }

  #openExclusive (settings: BridgeSettings, on: { onlost?: () => void, onended?: () => void } = {}): Mux {
    const mux = this.#newMux(settings, { exclusive: true, idleTimeout: 0, forget: () => { this.#exclusive.delete(mux) }, ...on })
    this.#exclusive.add(mux)
    if (this.#closed) void mux.close()
    return mux
  }

  #newMux (settings: BridgeSettings, { forget, onended = () => this.#slots.give(), ...rest }: NewMux): Mux {
    const ended = (): void => {
      this.#running.delete(mux)
      onended()
    }
    // somebody waits for a place, and this child waits for a client that may never come
    const onidle = (): void => { if (this.#slots.waiting > 0) void mux.close() }
    const mux: Mux = new Mux({ settings, log: this.#log, events: this.#events, onidle, ...rest, onclose: forget, onended: ended })
    this.#running.add(mux)
    return mux
  }

  #touch (key: string, mux: Mux): void {
    this.#shared.delete(key)
    this.#shared.set(key, mux)
  }

  #refuse (transport: Transport, { kind, rawId }: Message, error: CodedError): void {
    if (kind !== 'request') return
    void transport.send(Message.error(rawId as string, toRpcError(error)), { status: error.statusCode, retryAfter: error.statusCode === 503 ? 1 : undefined, local: true })
  }
}
