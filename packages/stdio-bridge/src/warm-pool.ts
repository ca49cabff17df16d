import type { FastifyBaseLogger } from '@mcp-proxy/protocol'
import type { Mux } from './mux.js'

export interface WarmPoolOptions {
  /** Children kept ready for each kind of client. */
  readonly size: number
  /** Calls after which a child is replaced. */
  readonly recycleAfter: number
  /** Makes a mux for one client at a time. Resolves to nothing when there is no room for another child. */
  readonly open: () => Promise<Mux | undefined>
  readonly log: FastifyBaseLogger
}

/** A child that serves one call. */
export interface Lease {
  readonly mux: Mux
  /** Gives the child back; `used` says whether it has worked for a client. */
  release: (used: boolean) => void
}

/** Kinds of clients for which children are kept ready; the one that has not been seen longest goes first. */
const MAX_KINDS = 8

interface Kind {
  readonly ready: Mux[]
  starting: number
}

/**
 * Children that have shaken hands and wait for a call. A kind is how a child was introduced to its client (the parameters
 * of `initialize`): what a server offers may depend on it.
 */
export class WarmPool {
  readonly #options: WarmPoolOptions
  readonly #kinds = new Map<string, Kind>()
  readonly #uses = new WeakMap<Mux, number>()
  #closed = false

  constructor (options: WarmPoolOptions) {
    this.#options = options
  }

  /**
   * A child for one call: one that is ready, or a new one. Nothing when there is no room.
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE
   */
  async lease (kind: string): Promise<Lease | undefined> {
    const { ready } = this.#kindOf(kind)
    let mux = ready.pop()
    while (mux !== undefined && mux.state !== 'ready') mux = ready.pop()
    mux ??= await this.#start(kind)
    this.#refill(kind)
    if (mux === undefined) return undefined
    const leased = mux
    return { mux: leased, release: used => this.#release(kind, leased, used) }
  }

  /** Starts children until as many are ready as shall be. */
  warm (kind: string): void {
    this.#refill(kind)
  }

  close (): void {
    this.#closed = true
    this.#kinds.clear()
  }

  #kindOf (kind: string): Kind {
    const known = this.#kinds.get(kind)
    const entry: Kind = known ?? { ready: [], starting: 0 }
    // the order of the map is the order of use
    this.#kinds.delete(kind)
    this.#kinds.set(kind, entry)
    if (known === undefined && this.#kinds.size > MAX_KINDS) {
      const [oldest] = this.#kinds
      if (oldest !== undefined) {
        this.#kinds.delete(oldest[0])
        for (const mux of oldest[1].ready) void mux.close()
      }
    }
    return entry
  }

  async #start (kind: string): Promise<Mux | undefined> {
    const mux = await this.#options.open()
    if (mux === undefined) return undefined
    try {
      await mux.start(kind === '' ? undefined : kind)
      return mux
    } catch (error) {
      void mux.close()
      throw error
    }
  }

  #refill (kind: string): void {
    const entry = this.#kinds.get(kind)
    if (entry === undefined || this.#closed) return
    while (entry.ready.length + entry.starting < this.#options.size) {
      entry.starting++
      this.#start(kind).then((mux) => {
        entry.starting--
        if (mux === undefined) return
        if (this.#kinds.get(kind) === entry) entry.ready.push(mux)
        else void mux.close()
      }, (err: unknown) => {
        entry.starting--
        // the next call tries again, and tells its client
        this.#options.log.warn({ err }, 'could not keep a child ready')
      })
    }
  }

  #release (kind: string, mux: Mux, used: boolean): void {
    const uses = (this.#uses.get(mux) ?? 0) + Number(used)
    this.#uses.set(mux, uses)
    const entry = this.#kinds.get(kind)
    if (entry !== undefined && mux.state === 'ready' && uses < this.#options.recycleAfter && entry.ready.length < Math.max(1, this.#options.size)) {
      entry.ready.push(mux)
      return
    }
    void mux.close()
    this.#refill(kind)
  }
}
