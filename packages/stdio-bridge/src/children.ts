import { mcpError, type CodedError, type ConnectContext, type FastifyBaseLogger } from '@mcp-proxy/protocol'
import { SHARED } from './isolation.js'
import { Mux, type MuxOptions } from './mux.js'
import { DEFAULT_CHILD_IDLE_TIMEOUT, type BridgeSettings } from './options.js'
import { Slots } from './slots.js'
import { Spares } from './spares.js'
import type { BridgeEvents } from './events.js'
import type { ServerEra } from './server-era.js'
import type { SupervisorState } from './supervisor.js'

/** What the bridge knows of one child. */
export interface ChildStatus {
  /** What the child is shared by: everybody, the clients of one key (a principal, say), or one session or call; a `spare` waits for a client. */
  readonly scope: 'shared' | 'key' | 'session' | 'spare'
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

export interface ChildrenOptions {
  readonly settings: BridgeSettings
  readonly log: FastifyBaseLogger
  readonly events: BridgeEvents
  readonly era: ServerEra
  /** Every place is taken, and no shared child is idle: something else may make way. */
  readonly makeRoom: () => void
  /** Somebody else waits for a place. */
  readonly waitedFor: () => boolean
}

/** The children of a bridge: those that several clients share, by what these have in common, and those that one has alone. */
export class Children {
  /** Places: `maxChildren` of them. */
  readonly slots: Slots
  readonly #options: ChildrenOptions
  /** By what their clients have in common. The order is that of use. */
  readonly #shared = new Map<string, Mux>()
  readonly #exclusive = new Set<Mux>()
  readonly #spares: Spares
  /** All of them, also those that are forgotten already and whose child is being ended. */
  readonly #running = new Set<Mux>()
  #closed = false

  constructor (options: ChildrenOptions) {
    this.#options = options
    const { settings, era, waitedFor } = options
    this.slots = new Slots(settings.maxChildren, settings.queueTimeout)
    this.#spares = new Spares({
      // one with variables of a client's own is of no use to another
      size: settings.childEnv === undefined ? settings.spares : 0,
      idleTimeout: settings.childIdleTimeout ?? DEFAULT_CHILD_IDLE_TIMEOUT,
      restart: settings.restart,
      takePlace: () => era.known === 'legacy' && this.slots.waiting === 0 && !waitedFor() && this.slots.tryTake(),
      open: handler => this.#open(settings, { exclusive: true, idleTimeout: 0, ...handler }),
    })
  }

  /** The child that the clients of a key share, if there is one. */
  get (key: string): Mux | undefined {
    return this.#shared.get(key)
  }

  /**
   * Goes on with the child of a key, which is opened if there is none; without a key with one for this client alone. A
   * promise where a place has to be waited for.
   * @throws MCP_ERR_CHILD_LIMIT
   */
  with<T> (key: string | undefined, context: ConnectContext, then: (mux: Mux) => T): T | Promise<T> {
    const open = key === undefined ? undefined : this.#shared.get(key)
    if (key !== undefined && open !== undefined) {
      this.#touch(key, open)
      return then(open)
    }
    const spare = key === undefined ? this.#spares.take() : undefined
    if (spare !== undefined) {
      this.#exclusive.add(spare)
      return then(spare)
    }
    const settings = settingsFor(this.#options.settings, context)
    const begin = (): T => then(key === undefined ? this.#openOwn(settings) : this.openShared(key, settings))
    const room = this.takeRoom()
    if (room === true) return begin()
    return room.then((granted) => {
      if (granted) return begin()
      this.#options.era.giveUp()
      throw this.noRoom()
    })
  }

  /** Opens what was given room for, unless somebody has opened it while the room was waited for. */
  openShared (key: string, settings: BridgeSettings): Mux {
    const open = this.#shared.get(key)
    if (open !== undefined) {
      this.slots.give()
      return open
    }
    // the child of everybody stays, unless told otherwise: it may hold state, and somebody will come again
    const idleTimeout = settings.childIdleTimeout ?? (key === SHARED ? 0 : DEFAULT_CHILD_IDLE_TIMEOUT)
    const mux = this.#open(settings, { exclusive: false, idleTimeout })
    this.#shared.set(key, mux)
    return mux
  }

  /** Opens a child for one client at a time, in a place that has been taken. */
  openExclusive (settings: BridgeSettings, onlost?: (error: CodedError) => void): Mux {
    const mux = this.#open(settings, { exclusive: true, idleTimeout: 0, onlost })
    this.#exclusive.add(mux)
    return mux
  }

  /** Lets everybody have a child that was opened for one client alone, before it was known that all could share it. */
  share (mux: Mux): void {
    if (!mux.exclusive || this.#shared.has(SHARED)) return
    mux.share()
    this.#exclusive.delete(mux)
    this.#shared.set(SHARED, mux)
  }

  /** Takes room for one more child; one that serves nobody makes way. */
  takeRoom (): true | Promise<boolean> {
    if (this.slots.full && !this.endIdle()) this.#options.makeRoom()
    return this.slots.take()
  }

  noRoom (): CodedError {
    return Object.assign(mcpError('MCP_ERR_CHILD_LIMIT', this.#options.settings.maxChildren), { retryAfter: 1 })
  }

  /** Ends a spare, or else a shared child that serves nobody; `false` when there is none. */
  endIdle (): boolean {
    if (this.#spares.yield()) return true
    for (const [key, mux] of this.#shared) {
      // one that is starting without a client is waited for by calls
      if (mux.clients > 0 || mux.calls > 0 || mux.state === 'starting') continue
      this.#shared.delete(key)
      void mux.close()
      return true
    }
    return false
  }

  status (): ChildStatus[] {
    const describe = (mux: Mux, scope: ChildStatus['scope']): ChildStatus => ({
      scope, state: mux.state, pid: mux.child?.pid, clients: mux.clients, calls: mux.calls, losses: mux.losses, stderr: [...mux.stderr]
    })
    return [
      ...[...this.#shared].map(([key, mux]) => describe(mux, key === SHARED ? 'shared' : 'key')),
      ...[...this.#exclusive].map(mux => describe(mux, 'session')),
      ...[...this.#spares.muxes].map(mux => describe(mux, 'spare')),
    ]
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#spares.close()
    await Promise.all([...this.#running].map(mux => mux.close()))
  }

  /** Opens a child for a client that comes with a session; the next such client may find a spare. */
  #openOwn (settings: BridgeSettings): Mux {
    const mux = this.#open(settings, { exclusive: true, idleTimeout: 0, onanswered: () => { if (this.#options.era.known !== 'modern') this.#spares.want() } })
    this.#exclusive.add(mux)
    return mux
  }

  #open (settings: BridgeSettings, how: Pick<MuxOptions, 'exclusive' | 'idleTimeout' | 'onlost' | 'onanswered'>): Mux {
    const { log, events, era, waitedFor } = this.#options
    const mux: Mux = new Mux({
      ...how,
      settings,
      log,
      events,
      era,
      // somebody waits for a place, and this child waits for a client that may never come
      onidle: () => { if (this.slots.waiting > 0 || waitedFor()) void mux.close() },
      onclose: () => this.#forget(mux),
      onended: () => {
        this.#running.delete(mux)
        this.slots.give()
        this.#spares.resume()
      },
    })
    this.#running.add(mux)
    if (this.#closed) void mux.close()
    return mux
  }

  #forget (mux: Mux): void {
    this.#exclusive.delete(mux)
    this.#spares.forget(mux)
    for (const [key, open] of this.#shared) if (open === mux) this.#shared.delete(key)
  }

  #touch (key: string, mux: Mux): void {
    if (this.#shared.size === 1) return
    this.#shared.delete(key)
    this.#shared.set(key, mux)
  }
}

/** How a child is started for a client. */
export function settingsFor (settings: BridgeSettings, context: ConnectContext): BridgeSettings {
  const { childEnv } = settings
  return childEnv === undefined ? settings : { ...settings, env: { ...settings.env, ...childEnv(context) } }
}
