import { mcpError, type FastifyBaseLogger } from '@mcp-proxy/protocol'
import { Restarts, type RestartPolicy } from './restarts.js'
import type { Mux } from './mux.js'

export interface WarmPoolOptions {
  /** What the server is called in errors. */
  readonly name: string
  /** Children kept ready for each kind of client. */
  readonly size: number
  /** Calls after which a child is replaced. */
  readonly recycleAfter: number
  /** Children at once. */
  readonly max: number
  /** Milliseconds that a call waits for a place at most. */
  readonly timeout: number
  readonly restart: RestartPolicy
  /** Makes a mux for one client at a time. `onlost`: its child has died while nobody used it; `onended`: it is closed and gone. */
  readonly open: (on: { lost: () => void, ended: () => void }) => Mux
  readonly log: FastifyBaseLogger
}

/** How a lease was used: the child has `answered`, was `unused`, or may still be at work for the client that had it. */
export type LeaseEnd = 'answered' | 'unused' | 'dirty'

/** A child that serves one call. */
export interface Lease {
  readonly mux: Mux
  readonly release: (end: LeaseEnd) => void
}

interface Waiter {
  readonly kind: string
  /** Takes the child, or nothing; `false` when nobody waits any more. */
  readonly settle: (mux: Mux | undefined) => boolean
  readonly fail: (error: unknown) => void
  /** It has a place: from now on the time of the start counts, not that of the queue. */
  readonly placed: () => void
}

/**
 * Children that have shaken hands and wait for a call. A kind is how a child was introduced to its client (the parameters
 * of `initialize`, or nothing): what a server offers may depend on it.
 */
export class WarmPool {
  readonly #options: WarmPoolOptions
  readonly #restarts: Restarts
  /** Children that are ready, by kind; the kind that was used longest ago comes first. */
  readonly #ready = new Map<string, Mux[]>()
  readonly #starting = new Map<string, number>()
  readonly #uses = new WeakMap<Mux, number>()
  readonly #waiters: Waiter[] = []
  #retry: NodeJS.Timeout | undefined
  /** Children that have not ended. */
  #count = 0
  #closed = false

  constructor (options: WarmPoolOptions) {
    this.#options = options
    this.#restarts = new Restarts(options.restart)
  }

  /** Calls that wait for a child. */
  get waiting (): number { return this.#waiters.length }

  /**
   * A child for one call: one that is ready, or a new one, or one that becomes free. Nothing when none did in time, or
   * when the signal says that it is not wanted any more.
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE, MCP_ERR_CHILD_UNAVAILABLE
   */
  async lease (kind: string, signal?: AbortSignal): Promise<Lease | undefined> {
    const blocked = this.#restarts.blockedFor(Date.now())
    if (blocked > 0) {
      const retryAfter = Math.ceil(blocked / 1000)
      throw Object.assign(mcpError('MCP_ERR_CHILD_UNAVAILABLE', this.#options.name, retryAfter), { retryAfter })
    }
    return await new Promise((resolve, reject) => {
      let waits = true
      const done = (): boolean => {
        if (!waits) return false
        waits = false
        clearTimeout(timer)
        signal?.removeEventListener('abort', leave)
        const index = this.#waiters.indexOf(waiter)
        if (index !== -1) this.#waiters.splice(index, 1)
        return true
      }
      const waiter: Waiter = {
        kind,
        settle: (mux) => {
          if (!done()) return false
          resolve(mux === undefined ? undefined : { mux, release: end => this.#release(kind, mux, end) })
          return true
        },
        fail: (error) => { if (done()) reject(error) },
        placed: () => clearTimeout(timer),
      }
      const leave = (): void => { waiter.settle(undefined) }
      const timer = setTimeout(leave, this.#options.timeout)
      signal?.addEventListener('abort', leave)
      this.#waiters.push(waiter)
      this.#serve()
    })
  }

  close (): void {
    this.#closed = true
    clearTimeout(this.#retry)
    for (const waiter of [...this.#waiters]) waiter.settle(undefined)
  }

  /** Gives children to those who wait, in their order, and makes room where there is none. */
  #serve (): void {
    for (let waiter = this.#waiters[0]; waiter !== undefined; waiter = this.#waiters[0]) {
      const mux = this.#takeReady(waiter.kind)
      if (mux !== undefined) {
        waiter.settle(mux)
      } else if (this.#count < this.#options.max) {
        this.#waiters.shift()
        waiter.placed()
        this.#startFor(waiter)
      } else {
        this.#makeRoom()
        return
      }
    }
    this.#refill([...this.#ready.keys()].at(-1))
  }

  #startFor (waiter: Waiter): void {
    this.#start(waiter.kind).then((mux) => {
      // nobody waits for it any more: it serves the next
      if (!waiter.settle(mux)) this.#giveBack(waiter.kind, mux)
    }, waiter.fail)
  }

  #takeReady (kind: string): Mux | undefined {
    const ready = this.#ready.get(kind) ?? []
    // used last: now at the end
    this.#ready.delete(kind)
    this.#ready.set(kind, ready)
    return ready.pop()
  }

  /** A child that waits for another kind of client makes way. */
  #makeRoom (): void {
    for (const [kind, ready] of this.#ready) {
      const mux = ready.shift()
      if (mux === undefined) this.#ready.delete(kind)
      else {
        void mux.close()
        return
      }
    }
  }

  async #start (kind: string): Promise<Mux> {
    this.#count++
    const mux = this.#options.open({
      lost: () => {
        this.#restarts.lost(Date.now())
        const ready = this.#ready.get(kind)
        const index = ready?.indexOf(mux) ?? -1
        if (index !== -1) ready?.splice(index, 1)
        void mux.close()
      },
      ended: () => {
        this.#count--
        if (!this.#closed) this.#serve()
      },
    })
    await mux.start(kind === '' ? undefined : kind)
    return mux
  }

  #refill (kind: string | undefined): void {
    if (kind === undefined || this.#closed || this.#waiters.length > 0 || this.#count >= this.#options.max) return
    const starting = this.#starting.get(kind) ?? 0
    if ((this.#ready.get(kind)?.length ?? 0) + starting >= this.#options.size) return
    const wait = this.#restarts.blockedFor(Date.now()) || this.#restarts.backOff()
    if (wait > 0) {
      // nobody waits for these: no hurry after a failure
      clearTimeout(this.#retry)
      this.#retry = setTimeout(() => this.#fill(kind), wait).unref()
    } else {
      this.#fill(kind)
    }
  }

  #fill (kind: string): void {
    this.#starting.set(kind, (this.#starting.get(kind) ?? 0) + 1)
    this.#start(kind).then((mux) => {
      this.#started(kind)
      this.#giveBack(kind, mux)
      this.#refill(kind)
    }, (err: unknown) => {
      this.#started(kind)
      // the next call tries again, and tells its client
      this.#options.log.warn({ err }, 'could not keep a child ready')
    })
  }

  #started (kind: string): void {
    const left = (this.#starting.get(kind) ?? 1) - 1
    if (left === 0) this.#starting.delete(kind)
    else this.#starting.set(kind, left)
  }

  #release (kind: string, mux: Mux, end: LeaseEnd): void {
    if (end === 'answered') this.#restarts.worked()
    const uses = (this.#uses.get(mux) ?? 0) + Number(end === 'answered')
    this.#uses.set(mux, uses)
    // a child that is closed tells when it has ended: there is room then
    if (end === 'dirty' || mux.state !== 'ready' || uses >= this.#options.recycleAfter) void mux.close()
    else this.#giveBack(kind, mux)
  }

  /** Somebody who waits gets it; else it waits itself, unless enough do. */
  #giveBack (kind: string, mux: Mux): void {
    if (this.#closed || mux.state !== 'ready') {
      void mux.close()
      return
    }
    const ready = this.#ready.get(kind) ?? []
    this.#ready.set(kind, ready)
    ready.push(mux)
    if (this.#waiters.length > 0) this.#serve()
    if (ready.length > Math.max(1, this.#options.size)) void ready.shift()?.close()
  }
}
