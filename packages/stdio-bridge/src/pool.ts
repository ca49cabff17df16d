import type { Connect, ConnectContext, Connection, FastifyBaseLogger, Message } from '@mcp-proxy/protocol'
import { declaresCallbacks } from './handshake.js'
import { Mux } from './mux.js'
import type { BridgeSettings } from './options.js'

/** What the bridge knows of one child. */
export interface ChildStatus {
  /** What the child is shared by: everybody, one principal, or one session. */
  readonly scope: 'shared' | 'principal' | 'session'
  readonly state: 'idle' | 'starting' | 'ready' | 'closed'
  readonly pid: number | undefined
  /** Clients that are connected to it. */
  readonly clients: number
  /** Calls that it is working on. */
  readonly calls: number
  /** The last lines it wrote to stderr. */
  readonly stderr: readonly string[]
}

/** Decides which child serves whom, by the bridge's isolation. */
export class Pool {
  readonly #settings: BridgeSettings
  readonly #log: FastifyBaseLogger
  /** Children that several clients use, by what those have in common. */
  readonly #shared = new Map<string, Mux>()
  readonly #exclusive = new Set<Mux>()
  #closed = false

  constructor (settings: BridgeSettings, log: FastifyBaseLogger) {
    this.#settings = settings
    this.#log = log
  }

  readonly connect: Connect = (transport, context) => {
    let connection: Connection | undefined
    // let go of after the first message: the context holds the whole HTTP request, the connection lives much longer
    let pending: ConnectContext | undefined = context
    // a client shows by its first message what kind of child it needs
    transport.onmessage = (first) => {
      if (pending === undefined) return
      const key = this.#keyOf(pending.principal, first)
      const mux = key === undefined ? this.#openExclusive() : this.#openShared(key)
      connection = mux.attach(transport, pending)
      pending = undefined
      transport.onmessage?.(first)
    }
    return {
      close: async () => {
        transport.onmessage = undefined
        await connection?.close()
      }
    }
  }

  /**
   * Starts a child and shakes hands with it, to know early that it works. It stays if clients are going to share it.
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE
   */
  async start (): Promise<void> {
    const { isolation } = this.#settings
    if (isolation === 'shared' || isolation === 'auto') {
      await this.#openShared(SHARED).start()
      return
    }
    const trial = this.#openExclusive()
    try {
      await trial.start()
    } finally {
      await trial.close()
    }
  }

  status (): ChildStatus[] {
    const describe = (mux: Mux, scope: ChildStatus['scope']): ChildStatus => ({
      scope, state: mux.state, pid: mux.child?.pid, clients: mux.clients, calls: mux.calls, stderr: [...mux.child?.stderrTail ?? []]
    })
    return [
      ...[...this.#shared].map(([key, mux]) => describe(mux, key === SHARED ? 'shared' : 'principal')),
      ...[...this.#exclusive].map(mux => describe(mux, 'session')),
    ]
  }

  async close (): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#shared.values(), ...this.#exclusive].map(mux => mux.close()))
  }

  /** What the client shares a child by; `undefined` when it gets one of its own. */
  #keyOf (principal: string | undefined, first: Message): string | undefined {
    switch (this.#settings.isolation) {
      case 'shared': return SHARED
      case 'session': return undefined
      case 'principal': return principal === undefined ? SHARED : `principal ${principal}`
      case 'auto': return first.method === 'initialize' && declaresCallbacks(first) ? undefined : SHARED
    }
  }

  #openShared (key: string): Mux {
    const open = this.#shared.get(key)
    if (open !== undefined) return open
    const mux = this.#newMux(false)
    this.#shared.set(key, mux)
    return mux
  }

  #openExclusive (): Mux {
    const mux = this.#newMux(true, () => this.#exclusive.delete(mux))
    this.#exclusive.add(mux)
    return mux
  }

  #newMux (exclusive: boolean, onclose?: () => void): Mux {
    const mux = new Mux({ settings: this.#settings, log: this.#log, exclusive, onclose })
    if (this.#closed) void mux.close()
    return mux
  }
}

const SHARED = 'shared'
