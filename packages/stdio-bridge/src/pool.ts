import { createHash } from 'node:crypto'
import { Message, isModernMessage, legacyOverModern, mcpError, modernOverLegacy, toRpcError, type CodedError, type Connect, type ConnectContext, type Connection, type Era, type FastifyBaseLogger, type ModernOverLegacy, type Transport } from '@mcp-proxy/protocol'
import { Backlog } from './backlog.js'
import { answerBeforeHandshake } from './handshake.js'
import { SHARED, guardFunctions, isolationKey, sharingKey } from './isolation.js'
import { KeptChildren } from './kept-children.js'
import { LeaseRouter, plainKind } from './lease-router.js'
import { LegacyServers } from './legacy-servers.js'
import { ModernRouter } from './modern-router.js'
import { Mux } from './mux.js'
import { DEFAULT_CHILD_IDLE_TIMEOUT, type BridgeSettings } from './options.js'
import { pass } from './pass.js'
import { Peer } from './peer.js'
import { ServerEra } from './server-era.js'
import { Slots } from './slots.js'
import { WarmPool, type Kind } from './warm-pool.js'
import type { BridgeEvents } from './events.js'
import type { SupervisorState } from './supervisor.js'

interface NewMux {
  exclusive: boolean
  idleTimeout: number
  forget: () => void
  onlost?: ((error: CodedError) => void) | undefined
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
  readonly #kept: KeptChildren
  readonly #era: ServerEra
  /** Answers modern clients where the server shakes hands. */
  readonly #overLegacy: ModernOverLegacy
  #closed = false

  constructor (settings: BridgeSettings, log: FastifyBaseLogger, events: BridgeEvents) {
    this.#settings = guardFunctions(settings, log)
    this.#log = log
    this.#events = events
    this.#era = new ServerEra(settings.era)
    this.#slots = new Slots(settings.maxChildren, settings.queueTimeout)
    const { isolation, childIdleTimeout, maxChildren, warm } = settings
    // who wants a child for each client does not want the next to have it
    const strict = isolation === 'request' || isolation === 'session'
    this.#warm = new WarmPool({
      size: warm.size,
      recycleAfter: strict ? warm.recycleAfter : settings.leaseRecycleAfter,
      name: settings.name,
      slots: this.#slots,
      idleTimeout: childIdleTimeout ?? (isolation === 'request' ? 0 : DEFAULT_CHILD_IDLE_TIMEOUT),
      timeout: settings.queueTimeout,
      restart: settings.restart,
      open: (kind, onlost) => this.#openExclusive(kind.settings, onlost),
      makeRoom: () => { if (!this.#endIdle()) this.#endParked() },
      log,
    })
    // calls that wait for their users leave room for those of others
    const maxParkedCalls = Math.max(1, Math.min(settings.maxParkedCalls, Math.floor(maxChildren / 2)))
    this.#kept = new KeptChildren({ max: maxParkedCalls, timeout: settings.parkTimeout, log })
    this.#slots.onfree = () => this.#warm.resume()
    this.#slots.elsewhereSince = () => this.#warm.waitingSince
    const servers = new LegacyServers({
      warm: this.#warm,
      maxChildren,
      scope: context => this.#scope(context),
      shared: context => this.#introduced(context),
      leases: isolation !== 'shared',
      keeps: isolation !== 'request',
    })
    this.#overLegacy = modernOverLegacy(servers, { stateKey: settings.stateKey, parkTimeout: settings.parkTimeout, maxParkedCalls, log })
  }

  readonly connect: Connect = (transport, context) => {
    let connection: Connection | undefined
    // let go of once it is placed: the context holds the whole HTTP request, the connection lives much longer
    let pending: ConnectContext | undefined = context
    let closed = false
    // a client shows by its first message what kind of child it needs
    const first = (message: Message): void => {
      if (pending === undefined) return
      const era = pending.era ?? (isModernMessage(message) ? 'modern' : 'legacy')
      const early = era === 'modern' || pending.answers === false ? undefined : answerBeforeHandshake(message)
      if (early !== undefined) {
        void transport.send(early)
        return
      }
      const place = this.#tryPlace(transport, pending, message, era)
      if (!(place instanceof Promise)) {
        pending = undefined
        connection = place
        pass(transport, message)
        return
      }
      const kept = new Backlog(this.#settings, message)
      transport.onmessage = later => { if (!kept.add(later)) this.#refuse(transport, later, mcpError('MCP_ERR_CALL_LIMIT', this.#settings.maxPendingCalls)) }
      place.then((granted) => {
        if (closed) {
          void granted.close()
          return
        }
        pending = undefined
        connection = granted
        for (const message of kept.messages) pass(transport, message)
      }, (error: CodedError) => {
        this.#log.warn({ err: error }, 'no child for a client')
        if (closed) return
        // the next message tries again
        transport.onmessage = first
        for (const message of kept.messages) this.#refuse(transport, message, error)
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
      await this.#tryLease(plainKind(this.#settings))
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
    this.#kept.close()
    await this.#overLegacy.close()
    await Promise.all([...this.#running].map(mux => mux.close()))
  }

  /** As {@link #place}; functions of the app's may throw, and then their client is told. */
  #tryPlace (transport: Transport, context: ConnectContext, first: Message, era: Era): Connection | Promise<Connection> {
    try {
      return era === 'modern' ? this.#placeModern(transport, context) : this.#place(transport, context, first)
    } catch (error) {
      transport.onmessage = message => this.#refuse(transport, message, error as CodedError)
      return { close: async () => {} }
    }
  }

  /** Finds what answers a client that shakes hands; a promise where it has to wait for room. @throws MCP_ERR_CHILD_LIMIT */
  #place (transport: Transport, context: ConnectContext, first: Message): Connection | Promise<Connection> {
    const era = this.#era.known
    if (this.#settings.isolation === 'request') {
      const place = (): Connection => this.#era.known === 'modern' ? this.#translate(undefined, transport, context) : this.#leaseAll(transport, context)
      // one that could not be asked says what is wrong when it is needed
      return era === undefined ? this.#scout(context).then(place, place) : place()
    }
    const key = isolationKey(this.#settings, context, first, era)
    // by a server without handshake it could share a child: of many that come at once only one finds out
    const verdict = era === undefined && key === undefined && this.#settings.isolation === 'auto' ? this.#era.wait() : undefined
    if (verdict !== undefined) return verdict.then(() => this.#place(transport, context, first))
    return this.#withMux(key, context, (mux) => {
      switch (era) {
        case 'legacy': return mux.attach(transport, context)
        case 'modern': return this.#translate(mux, transport, context)
        default: return this.#attachUnknown(mux, transport, context)
      }
    })
  }

  /** Finds what answers a client that does not shake hands. */
  #placeModern (transport: Transport, context: ConnectContext): Connection | Promise<Connection> {
    switch (this.#era.known) {
      case 'legacy': return this.#overLegacy(transport, context)
      case 'modern': {
        const key = sharingKey(this.#settings, context)
        return key === undefined ? this.#route(undefined, transport, context) : this.#withMux(key, context, mux => this.#route(mux, transport, context))
      }
      default: return this.#scout(context).then(() => this.#placeModern(transport, context))
    }
  }

  /** A client that shakes hands, in front of a server that does not. Without a mux each of its calls gets a child of its own. */
  #translate (mux: Mux | undefined, transport: Transport, context: ConnectContext): Connection {
    const connect: Connect = mux?.exclusive === true ? (party, its) => mux.attach(party, its) : (party, its) => this.#route(mux, party, its)
    return legacyOverModern(connect, { serverName: this.#settings.name })(transport, context)
  }

  /** A client that shakes hands, while nobody knows whether the server does: that shows before the first message is passed on. */
  #attachUnknown (mux: Mux, transport: Transport, context: ConnectContext): Connection {
    const peer = new Peer(transport, context.id)
    const place = { connection: mux.attach(transport, context, peer) }
    peer.translate = (waiting) => {
      this.#shareIfAlone(mux)
      place.connection = this.#translate(mux, transport, context)
      for (const message of waiting) pass(transport, message)
    }
    return connectionOf(place)
  }

  /** A child that was opened for one client alone, before it was known that all could share it. */
  #shareIfAlone (mux: Mux): void {
    if (!mux.exclusive || this.#settings.isolation !== 'auto' || this.#shared.has(SHARED)) return
    mux.share()
    this.#exclusive.delete(mux)
    this.#shared.set(SHARED, mux)
  }

  #route (shared: Mux | undefined, transport: Transport, context: ConnectContext): Connection {
    const { isolation, maxChildren, maxPendingCalls } = this.#settings
    const { name, settings } = this.#scope(context)
    return new ModernRouter({ shared, kind: plainKind(settings, name), spreads: isolation !== 'shared', keeps: isolation !== 'request', pool: this.#warm, kept: this.#kept, maxChildren, maxPendingCalls }, transport, context)
  }

  #leaseAll (transport: Transport, context: ConnectContext): Connection {
    const { maxChildren, maxPendingCalls } = this.#settings
    return new LeaseRouter({ settings: this.#settings, pool: this.#warm, kept: this.#kept, maxChildren, maxPendingCalls }, transport, context)
  }

  /** Starts a child for a client, to see what the server is. @throws what starting may throw */
  async #scout (context: ConnectContext): Promise<void> {
    const key = sharingKey(this.#settings, context)
    const { name, settings } = this.#scope(context)
    if (key === undefined) await this.#tryLease(plainKind(settings, name))
    else await (await this.#withMux(key, context, mux => mux)).start()
  }

  async #tryLease (kind: Kind): Promise<void> {
    const lease = await this.#warm.lease(kind, undefined)
    if (lease === undefined) throw this.#noRoom()
    lease.release('unused')
  }

  /** The child that a client shares, once it has shaken hands; `undefined` when it shares none. */
  #introduced (context: ConnectContext): Mux | Promise<Mux> | undefined {
    const key = sharingKey(this.#settings, context)
    if (key === undefined) return undefined
    const mux = this.#withMux(key, context, opened => opened)
    if (!(mux instanceof Promise) && mux.initializeAnswer !== undefined) return mux
    return Promise.resolve(mux).then(async (opened) => {
      await opened.start()
      return opened
    })
  }

  /** Goes on with the child of a key, which is opened if there is none; without a key with one for this client alone. */
  #withMux<T> (key: string | undefined, context: ConnectContext, then: (mux: Mux) => T): T | Promise<T> {
    const open = key === undefined ? undefined : this.#shared.get(key)
    if (key !== undefined && open !== undefined) {
      this.#touch(key, open)
      return then(open)
    }
    const settings = this.#settingsFor(context)
    const begin = (): T => then(key === undefined ? this.#openExclusive(settings) : this.#openShared(key, settings))
    const room = this.#room()
    if (room === true) return begin()
    return room.then((granted) => {
      if (!granted) {
        this.#era.giveUp()
        throw this.#noRoom()
      }
      return begin()
    })
  }

  #noRoom (): CodedError {
    return Object.assign(mcpError('MCP_ERR_CHILD_LIMIT', this.#settings.maxChildren), { retryAfter: 1 })
  }

  /** Takes room for one more child; one that serves nobody makes way. */
  #room (): true | Promise<boolean> {
    if (this.#slots.full && !this.#endIdle() && !this.#warm.yield()) this.#endParked()
    return this.#slots.take()
  }

  /** Ends a call whose client has been away for as long as others wait: a child that works comes before one that waits. */
  #endParked (): void {
    const { queueTimeout } = this.#settings
    if (!this.#overLegacy.yield(queueTimeout)) this.#kept.yield(queueTimeout)
  }

  /** Ends a child that serves nobody; `false` when there is none. */
  #endIdle (): boolean {
    for (const [key, mux] of this.#shared) {
      // one that is starting without a client is waited for by calls
      if (mux.clients > 0 || mux.calls > 0 || mux.state === 'starting') continue
      this.#shared.delete(key)
      void mux.close()
      return true
    }
    return false
  }

  /** What keeps children of different clients apart that are leased, and how they are started. */
  #scope (context: ConnectContext): { name: string, settings: BridgeSettings } {
    const { childEnv, isolation } = this.#settings
    if (childEnv === undefined && (typeof isolation === 'string' && isolation !== 'principal')) return { name: '', settings: this.#settings }
    const settings = this.#settingsFor(context)
    const env = childEnv === undefined ? '' : createHash('sha256').update(JSON.stringify(settings.env)).digest('base64')
    return { name: `${sharingKey(this.#settings, context) ?? ''} ${env}`, settings }
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
    const mux = this.#newMux(settings, { exclusive: false, idleTimeout, forget: () => this.#forget(mux) })
    this.#shared.set(key, mux)
    if (this.#closed) void mux.close()
    return mux
  }

  #openExclusive (settings: BridgeSettings, onlost?: (error: CodedError) => void): Mux {
    const mux = this.#newMux(settings, { exclusive: true, idleTimeout: 0, forget: () => this.#forget(mux), onlost })
    this.#exclusive.add(mux)
    if (this.#closed) void mux.close()
    return mux
  }

  #newMux (settings: BridgeSettings, { forget, ...rest }: NewMux): Mux {
    const onended = (): void => {
      this.#running.delete(mux)
      this.#slots.give()
    }
    // somebody waits for a place, and this child waits for a client that may never come
    const onidle = (): void => { if (this.queued > 0) void mux.close() }
    const mux: Mux = new Mux({ settings, log: this.#log, events: this.#events, era: this.#era, onidle, ...rest, onclose: forget, onended })
    this.#running.add(mux)
    return mux
  }

  #forget (mux: Mux): void {
    this.#exclusive.delete(mux)
    for (const [key, open] of this.#shared) if (open === mux) this.#shared.delete(key)
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

/** What a place holds when it is closed. In a function of its own: closures of one function keep what any of them uses, as the context. */
function connectionOf (place: { readonly connection: Connection }): Connection {
  return { close: () => place.connection.close() }
}
