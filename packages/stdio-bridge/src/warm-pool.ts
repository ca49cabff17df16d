import type { FastifyBaseLogger } from '@mcp-proxy/protocol'
import type { Mux } from './mux.js'

export interface WarmPoolOptions {
  /** Children kept ready for each kind of client. */
  readonly size: number
  /** Calls after which a child is replaced. */
  readonly recycleAfter: number
  /** Children at once. */
  readonly max: number
  /** Milliseconds that a call waits for a child at most. */
  readonly timeout: number
  /** Makes a mux for one client at a time; `onended` is called when its child has ended. */
  readonly open: (onended: () => void) => Mux
  readonly log: FastifyBaseLogger
}

/** A child that serves one call. */
export interface Lease {
  readonly mux: Mux
  /** Gives the child back; `used` says whether it has worked for a client. */
  release: (used: boolean) => void
}

interface Waiter {
  readonly kind: string
  readonly resolve: (lease: Lease | undefined) => void
  readonly reject: (error: unknown) => void
  readonly timer: NodeJS.Timeout
}

/**
 * Children that have shaken hands and wait for a call. A kind is how a child was introduced to its client (the parameters
 * of `initialize`, or nothing): what a server offers may depend on it.
 */
export class WarmPool {
  readonly #options: WarmPoolOptions
  /** Children that are ready, by kind; the kind that was used longest ago comes first. */
  readonly #ready = new Map<string, Mux[]>()
  readonly #starting = new Map<string, number>()
  readonly #uses = new WeakMap<Mux, number>()
  readonly #waiters: Waiter[] = []
  /** Children that have not ended. */
  #count = 0
  #closed = false

  constructor (options: WarmPoolOptions) {
    this.#options = options
  }

  /** Calls that wait for a child. */
  get waiting (): number { return this.#waiters.length }

  /**
   * A child for one call: one that is ready, or a new one, or one that becomes free. Nothing when none did in time.
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE
   */
  async lease (kind: string): Promise<Lease | undefined> {
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        resolve(undefined)
      }, this.#options.timeout)
      const waiter: Waiter = { kind, resolve, reject, timer }
      this.#waiters.push(waiter)
      this.#serve()
    })
  }

  close (): void {
    this.#closed = true
    for (const waiter of this.#waiters.splice(0)) this.#settle(waiter, undefined)
  }

  /** Gives children to those who wait, in their order, and makes room where there is none. */
  #serve (): void {
    for (let waiter = this.#waiters[0]; waiter !== undefined; waiter = this.#waiters[0]) {
      const mux = this.#takeReady(waiter.kind)
      if (mux === undefined && this.#count >= this.#options.max) {
        this.#makeRoom()
        return
      }
      this.#waiters.shift()
      if (mux === undefined) this.#startFor(waiter)
      else this.#settle(waiter, mux)
    }
    const [latest] = [...this.#ready.keys()].slice(-1)
    if (latest !== undefined) this.#refill(latest)
  }

  #startFor (waiter: Waiter): void {
    this.#start(waiter.kind).then(mux => this.#settle(waiter, mux), (error: unknown) => {
      clearTimeout(waiter.timer)
      waiter.reject(error)
    })
  }

  #settle ({ kind, resolve, timer }: Waiter, mux: Mux | undefined): void {
    clearTimeout(timer)
    resolve(mux === undefined ? undefined : { mux, release: used => this.#release(kind, mux, used) })
  }

  #takeReady (kind: string): Mux | undefined {
    const ready = this.#ready.get(kind) ?? []
    // used last: now at the end
    this.#ready.delete(kind)
    this.#ready.set(kind, ready)
    for (let mux = ready.pop(); mux !== undefined; mux = ready.pop()) if (mux.state === 'ready') return mux
    return undefined
  }

  /** A child that waits for another kind of client makes way. */
  #makeRoom (): void {
    for (const [kind, ready] of this.#ready) {
      const mux = ready.shift()
      if (ready.length === 0 && mux === undefined) this.#ready.delete(kind)
      if (mux === undefined) continue
      void mux.close()
      return
    }
  }

  async #start (kind: string): Promise<Mux> {
    this.#count++
    const mux = this.#options.open(() => {
      this.#count--
      if (!this.#closed) this.#serve()
    })
    try {
      await mux.start(kind === '' ? undefined : kind)
      return mux
    } catch (error) {
      void mux.close()
      throw error
    }
  }

  #refill (kind: string): void {
    const starting = this.#starting.get(kind) ?? 0
    const ready = this.#ready.get(kind)?.length ?? 0
    if (this.#closed || this.#waiters.length > 0 || this.#count >= this.#options.max || ready + starting >= this.#options.size) return
    this.#starting.set(kind, starting + 1)
    this.#start(kind).then((mux) => {
      this.#started(kind)
      this.#giveBack(kind, mux)
      this.#refill(kind)
    }, (err: unknown) => {
      this.#started(kind)
      // the next call tries again, and tells its client
      this.#options.log.warn({ err }, 'could not keep a child ready')
    })
    this.#refill(kind)
  }

  #started (kind: string): void {
    const left = (this.#starting.get(kind) ?? 1) - 1
    if (left === 0) this.#starting.delete(kind)
    else this.#starting.set(kind, left)
  }

  #release (kind: string, mux: Mux, used: boolean): void {
    const uses = (this.#uses.get(mux) ?? 0) + Number(used)
    this.#uses.set(mux, uses)
    // a child that is closed tells when it has ended: there is room then
    if (mux.state !== 'ready' || uses >= this.#options.recycleAfter) void mux.close()
    else this.#giveBack(kind, mux)
  }

  /** Somebody who waits gets it; else it waits itself, unless enough do. */
  #giveBack (kind: string, mux: Mux): void {
    const ready = this.#ready.get(kind) ?? []
    this.#ready.set(kind, ready)
    ready.push(mux)
    if (this.#waiters.length > 0) this.#serve()
    if (ready.length > Math.max(1, this.#options.size)) void ready.shift()?.close()
  }
}
