import { createHash } from 'node:crypto'
import { legacyOverModern, modernOverLegacy, type Connect, type ConnectContext, type Connection, type FastifyBaseLogger, type Message, type ModernOverLegacy, type Transport } from '@mcp-proxy/protocol'
import { Children, settingsFor, type ChildStatus } from './children.js'
import { SHARED, guardFunctions, isolationKey, sharingKey } from './isolation.js'
import { KeptChildren } from './kept-children.js'
import { LeaseRouter, plainKind } from './lease-router.js'
import { LegacyServers } from './legacy-servers.js'
import { ModernRouter, type ModernRouterOptions } from './modern-router.js'
import { DEFAULT_CHILD_IDLE_TIMEOUT, type BridgeSettings } from './options.js'
import { pass } from './pass.js'
import { Peer } from './peer.js'
import { ServerEra } from './server-era.js'
import { WaitingClient, type WaitingRoomOptions } from './waiting-room.js'
import { WarmPool, type Kind } from './warm-pool.js'
import type { BridgeEvents } from './events.js'
import type { Mux } from './mux.js'

/** Decides which child serves whom, by the bridge's isolation and the eras of both sides. */
export class Pool {
  readonly #settings: BridgeSettings
  readonly #children: Children
  readonly #warm: WarmPool
  readonly #kept: KeptChildren
  readonly #era: ServerEra
  /** Answers modern clients where the server shakes hands. */
  readonly #overLegacy: ModernOverLegacy
  readonly #waitingRoom: WaitingRoomOptions
  /** Children that are started like all others, and how modern clients find theirs: made once, not for each call. */
  readonly #kind: Kind
  readonly #routes: ModernRouterOptions

  constructor (settings: BridgeSettings, log: FastifyBaseLogger, events: BridgeEvents) {
    this.#settings = guardFunctions(settings, log)
    this.#era = new ServerEra(settings.era)
    this.#children = new Children({
      settings: this.#settings,
      log,
      events,
      era: this.#era,
      makeRoom: () => { if (!this.#warm.yield()) this.#endParked() },
      waitedFor: () => this.#warm.waiting > 0,
    })
    const { slots } = this.#children
    const { isolation, childIdleTimeout, maxChildren, warm } = settings
    // who wants a child for each client does not want the next to have it
    const strict = isolation === 'request' || isolation === 'session'
    this.#warm = new WarmPool({
      size: warm.size,
      recycleAfter: strict ? warm.recycleAfter : settings.leaseRecycleAfter,
      keepsUsed: isolation === 'request',
      name: settings.name,
      slots,
      idleTimeout: childIdleTimeout ?? (isolation === 'request' ? 0 : DEFAULT_CHILD_IDLE_TIMEOUT),
      timeout: settings.queueTimeout,
      restart: settings.restart,
      open: (kind, onlost) => this.#children.openExclusive(kind.settings, onlost),
      makeRoom: () => { if (!this.#children.endIdle()) this.#endParked() },
      log,
    })
    // calls that wait for their users leave room for those of others
    const maxParkedCalls = Math.max(1, Math.min(settings.maxParkedCalls, Math.floor(maxChildren / 2)))
    this.#kept = new KeptChildren({ max: maxParkedCalls, timeout: settings.parkTimeout, log })
    this.#kind = plainKind(this.#settings)
    this.#routes = { spreads: isolation !== 'shared', keeps: isolation !== 'request', pool: this.#warm, kept: this.#kept, maxChildren, maxPendingCalls: settings.maxPendingCalls }
    slots.onfree = () => this.#warm.resume()
    slots.elsewhereSince = () => this.#warm.waitingSince
    const servers = new LegacyServers({
      warm: this.#warm,
      maxChildren,
      scope: context => this.#scope(context),
      shared: context => this.#introduced(context),
      leases: isolation !== 'shared',
      keeps: isolation !== 'request',
    })
    this.#overLegacy = modernOverLegacy(servers, { stateKey: settings.stateKey, stateTag: settings.stateTag, parkTimeout: settings.parkTimeout, maxParkedCalls, log })
    this.#waitingRoom = {
      settings,
      log,
      place: (transport, context, first, era) => era === 'modern' ? this.#placeModern(transport, context) : this.#place(transport, context, first),
    }
  }

  readonly connect: Connect = (transport, context) => new WaitingClient(this.#waitingRoom, transport, context)

  /**
   * Starts a child and shakes hands with it, to know early that it works. It stays if it can be of use later.
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE
   */
  async start (): Promise<void> {
    const { isolation } = this.#settings
    if (isolation === 'shared' || isolation === 'auto') {
      const open = this.#children.get(SHARED)
      if (open !== undefined) await open.start()
      else if (await this.#children.takeRoom()) await this.#children.openShared(SHARED, this.#settings).start()
    } else if (isolation === 'request') {
      await this.#tryLease(plainKind(this.#settings))
    } else if (await this.#children.takeRoom()) {
      const trial = this.#children.openExclusive(this.#settings)
      try {
        await trial.start()
      } finally {
        await trial.close()
      }
    }
  }

  status (): ChildStatus[] {
    return this.#children.status()
  }

  /** Clients that wait for a child. */
  get queued (): number { return this.#children.slots.waiting + this.#warm.waiting }

  async close (): Promise<void> {
    this.#warm.close()
    this.#kept.close()
    await this.#overLegacy.close()
    await this.#children.close()
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
    return this.#children.with(key, context, (mux) => {
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
        return key === undefined ? this.#route(undefined, transport, context) : this.#children.with(key, context, mux => this.#route(mux, transport, context))
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
      if (this.#settings.isolation === 'auto') this.#children.share(mux)
      place.connection = this.#translate(mux, transport, context)
      for (const message of waiting) pass(transport, message)
    }
    return connectionOf(place)
  }

  #route (shared: Mux | undefined, transport: Transport, context: ConnectContext): Connection {
    const { name, settings } = this.#scope(context)
    const kind = settings === this.#settings ? this.#kind : plainKind(settings, name)
    return new ModernRouter(this.#routes, shared, kind, transport, context)
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
    else await (await this.#children.with(key, context, mux => mux)).start()
  }

  async #tryLease (kind: Kind): Promise<void> {
    const lease = await this.#warm.lease(kind, undefined)
    if (lease === undefined) throw this.#children.noRoom()
    lease.release('unused')
  }

  /** The child that a client shares, once it has shaken hands; `undefined` when it shares none. */
  #introduced (context: ConnectContext): Mux | Promise<Mux> | undefined {
    const key = sharingKey(this.#settings, context)
    if (key === undefined) return undefined
    const mux = this.#children.with(key, context, opened => opened)
    if (!(mux instanceof Promise) && mux.initializeAnswer !== undefined) return mux
    return Promise.resolve(mux).then(async (opened) => {
      await opened.start()
      return opened
    })
  }

  /** Ends a call whose client has been away for as long as others wait: a child that works comes before one that waits. */
  #endParked (): void {
    const { queueTimeout } = this.#settings
    if (!this.#overLegacy.yield(queueTimeout)) this.#kept.yield(queueTimeout)
  }

  /** What keeps children of different clients apart that are leased, and how they are started. */
  #scope (context: ConnectContext): { name: string, settings: BridgeSettings } {
    const { childEnv, isolation } = this.#settings
    if (childEnv === undefined && (typeof isolation === 'string' && isolation !== 'principal')) return { name: '', settings: this.#settings }
    const settings = settingsFor(this.#settings, context)
    const env = childEnv === undefined ? '' : createHash('sha256').update(JSON.stringify(settings.env)).digest('base64')
    return { name: `${sharingKey(this.#settings, context) ?? ''} ${env}`, settings }
  }
}

/** What a place holds when it is closed. In a function of its own: closures of one function keep what any of them uses, as the context. */
function connectionOf (place: { readonly connection: Connection }): Connection {
  return { close: () => place.connection.close() }
}
