import { mcpError, type CodedError, type FastifyBaseLogger } from '@mcp-proxy/protocol'
import { LeaseQueue, type Waiter } from './lease-queue.js'
import { Restarts, type RestartPolicy } from './restarts.js'
import { Shelves } from './shelves.js'
import type { Mux } from './mux.js'
import type { BridgeSettings } from './options.js'
import type { Slots } from './slots.js'

/** Milliseconds after which used children end that nobody has asked for, but for as many as are kept ready anyway, where nothing else ends them. */
const SURPLUS_TIMEOUT = 60_000

export interface WarmPoolOptions {
  /** What the server is called in errors. */
  readonly name: string
  /** Children kept ready for each kind of client. */
  readonly size: number
  /** Calls after which a child is replaced. */
  readonly recycleAfter: number
  /** As many children that may serve again stay as were busy at once. Not where calls wait for their users on them: these may have half of the places. */
  readonly keepsUsed: boolean
  /** Places for children, which others of the bridge take too. */
  readonly slots: Slots
  /** Milliseconds after which children end whose kind nobody has asked for; `0` is never. */
  readonly idleTimeout: number
  /** Milliseconds that a call waits for a place at most. */
  readonly timeout: number
  readonly restart: RestartPolicy
  /** Makes a mux for one client at a time, in a place that was taken for it. `onlost`: its child has died while nobody used it. */
  readonly open: (kind: Kind, onlost: (error: CodedError) => void) => Mux
  /** Every place is taken: a child elsewhere that serves nobody may make way. */
  readonly makeRoom: () => void
  readonly log: FastifyBaseLogger
}

/** Which children can serve a call: what a server offers may depend on how it was introduced to its client. */
export interface Kind {
  readonly name: string
  /** Parameters of `initialize`, as JSON text; `undefined` for the bridge's own. */
  readonly introduction: string | undefined
  readonly settings: BridgeSettings
}

/**
 * How a lease was used: the child has `answered`; it has answered and is `spent`, because its client has told it something;
 * it was `unused`; or it is `dirty`, and may still be at work for the client that had it.
 */
export type LeaseEnd = 'answered' | 'spent' | 'unused' | 'dirty'

/** A child that serves one call. */
export interface Lease {
  readonly mux: Mux
  readonly release: (end: LeaseEnd) => void
}

/** Children that have shaken hands and wait for a call. */
export class WarmPool {
  readonly #options: WarmPoolOptions
  readonly #restarts: Restarts
  readonly #queue = new LeaseQueue()
  /** Children that are ready. Of a kind that has been taken away none are kept ready any more. */
  readonly #shelves = new Shelves((name) => { if (this.#latest?.kind.name === name) this.#latest = undefined })
  /** The kind that was asked for last: of this one, children are kept ready. */
  #latest: { readonly kind: Kind, readonly usedAt: number, readonly uses: number } | undefined
  readonly #starting = new Map<string, number>()
  readonly #uses = new WeakMap<Mux, number>()
  readonly #sweeper: NodeJS.Timeout
  #retry: NodeJS.Timeout | undefined
  #closed = false

  constructor (options: WarmPoolOptions) {
    this.#options = options
    this.#restarts = new Restarts(options.restart)
    const { idleTimeout } = options
    this.#sweeper = setInterval(() => this.#sweep(Date.now()), Math.ceil((idleTimeout || SURPLUS_TIMEOUT) / 4)).unref()
  }

  /** Calls that wait for a child. */
  get waiting (): number { return this.#queue.size }
  /** `Date.now()` from which on the first waits; `Infinity` when nobody does. */
  get waitingSince (): number { return this.#queue.since }

  /**
   * A child for one call: one that is ready, or a new one, or one that becomes free. Nothing when none did in time, or
   * when the signal says that it is not wanted any more.
   * @param owner the user that the call is of
   * @param wanted asked for the signal when the call has to wait
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE, MCP_ERR_CHILD_UNAVAILABLE
   */
  async lease (kind: Kind, owner: string | undefined, wanted?: () => AbortSignal): Promise<Lease | undefined> {
    const blocked = this.#restarts.blockedFor(Date.now())
    if (blocked > 0) {
      const retryAfter = Math.ceil(blocked / 1000)
      throw Object.assign(mcpError('MCP_ERR_CHILD_UNAVAILABLE', this.#options.name, retryAfter), { retryAfter })
    }
    const waiter = this.#queue.join(kind, owner)
    this.#serve()
    waiter.wait(this.#options.timeout, wanted)
    const mux = await waiter.mux
    return mux === undefined ? undefined : { mux, release: end => this.#release(kind, owner, mux, end) }
  }

  close (): void {
    this.#closed = true
    clearTimeout(this.#retry)
    clearInterval(this.#sweeper)
    this.#queue.close()
  }

  /** A place has become free. */
  resume (): void {
    if (!this.#closed) this.#serve()
  }

  /** Ends a child that waits for the kind of client that was here longest ago; `false` when none waits. */
  yield (): boolean {
    return this.#shelves.yield()
  }

  /** Ends what waits for clients that have not come for long: all of it, or all but a few. */
  #sweep (now: number): void {
    const { idleTimeout, size } = this.#options
    if (idleTimeout === 0) {
      this.#shelves.sweep(now - SURPLUS_TIMEOUT, Math.max(1, size))
      return
    }
    const since = now - idleTimeout
    if (this.#latest !== undefined && this.#latest.usedAt <= since) this.#latest = undefined
    this.#shelves.sweep(since)
  }

  /** Gives children to those who wait, in their order, and makes room where there is none. */
  #serve (): void {
    for (let waiter = this.#queue.first; waiter !== undefined; waiter = this.#queue.first) {
      const mux = this.#takeReady(waiter)
      if (mux !== undefined) {
        waiter.settle(mux)
      } else if (this.#options.slots.tryTake()) {
        waiter.placed()
        this.#startFor(waiter)
      } else {
        if (!this.yield()) this.#options.makeRoom()
        return
      }
    }
    // a kind that came once may never come again, and everybody can make up a new one
    if (this.#latest !== undefined && (this.#latest.uses > 1 || this.#latest.kind.introduction === undefined)) this.#refill(this.#latest.kind)
  }

  #startFor (waiter: Waiter): void {
    this.#start(waiter.kind).then((mux) => {
      // nobody waits for it any more: it serves the next
      if (!waiter.settle(mux)) this.#giveBack(waiter.kind.name, mux)
    }, (error: unknown) => waiter.fail(error))
  }

  #takeReady ({ kind, owner }: Waiter): Mux | undefined {
    const usedAt = Date.now()
    this.#latest = { kind, usedAt, uses: this.#latest?.kind.name === kind.name ? this.#latest.uses + 1 : 1 }
    return this.#take(usedName(kind, owner), usedAt) ?? this.#take(kind.name, usedAt)
  }

  #take (name: string, usedAt: number): Mux | undefined {
    let mux = this.#shelves.take(name, usedAt)
    // the end of one may be known before it is reported, and the report ends the mux
    while (mux !== undefined && mux.child?.running !== true) mux = this.#shelves.take(name, usedAt)
    return mux
  }

  /** Starts a child in a place that has been taken. */
  async #start (kind: Kind): Promise<Mux> {
    const mux = this.#options.open(kind, ({ code }) => {
      // a server may refuse a client, which others need not suffer for
      if (code !== 'MCP_ERR_CHILD_HANDSHAKE' || kind.introduction === undefined) this.#restarts.lost(Date.now())
      this.#shelves.remove(mux)
      void mux.close()
    })
    await mux.start(kind.introduction)
    // many servers ask for roots as soon as they know their client: what they ask is here by then
    if (kind.introduction?.includes('"roots"') === true) await mux.settle()
    return mux
  }

  #refill (kind: Kind | undefined): void {
    if (kind === undefined || this.#closed || this.#queue.size > 0 || this.#options.slots.waiting > 0 || this.#options.slots.full) return
    const starting = this.#starting.get(kind.name) ?? 0
    if (this.#shelves.size(kind.name) + starting >= this.#options.size) return
    const wait = this.#restarts.blockedFor(Date.now()) || this.#restarts.backOff()
    if (wait > 0) {
      // nobody waits for these: no hurry after a failure
      clearTimeout(this.#retry)
      this.#retry = setTimeout(() => this.#fill(kind), wait).unref()
    } else {
      this.#fill(kind)
    }
  }

  #fill (kind: Kind): void {
    if (this.#closed || !this.#options.slots.tryTake()) return
    this.#starting.set(kind.name, (this.#starting.get(kind.name) ?? 0) + 1)
    this.#start(kind).then((mux) => {
      this.#started(kind)
      this.#giveBack(kind.name, mux)
      this.#refill(kind)
    }, (err: unknown) => {
      this.#started(kind)
      // the next call tries again, and tells its client; one that was ended because the bridge is needs nobody's attention
      this.#options.log[this.#closed ? 'debug' : 'warn']({ err }, 'could not keep a child ready')
    })
  }

  #started ({ name }: Kind): void {
    const left = (this.#starting.get(name) ?? 1) - 1
    if (left === 0) this.#starting.delete(name)
    else this.#starting.set(name, left)
  }

  #release (kind: Kind, owner: string | undefined, mux: Mux, end: LeaseEnd): void {
    if (end === 'answered' || end === 'spent') this.#restarts.worked()
    const uses = (this.#uses.get(mux) ?? 0) + Number(end === 'answered')
    this.#uses.set(mux, uses)
    // a child that is closed tells when it has ended: there is room then
    if (end === 'dirty' || end === 'spent' || mux.state !== 'ready' || uses >= this.#options.recycleAfter) void mux.close()
    // what it says late is about a call of the same user at worst
    else this.#giveBack(uses === 0 ? kind.name : usedName(kind, owner), mux, uses > 0)
  }

  /** Somebody who waits gets it, or its place; else it waits itself. Of those that were never used no more than wanted do: as many as were used at once may be again. */
  #giveBack (name: string, mux: Mux, used: boolean = false): void {
    if (this.#closed || mux.state !== 'ready' || this.#options.slots.waitingSince < this.waitingSince) {
      void mux.close()
      return
    }
    this.#shelves.put(name, mux)
    if (this.#queue.size > 0) this.#serve()
    if (!used || !this.#options.keepsUsed) this.#shelves.trim(name, Math.max(1, this.#options.size))
  }
}

/** Children that have served a user serve no other. */
function usedName ({ name }: Kind, owner: string | undefined): string {
  return `${name}\nused${owner === undefined ? '' : ` ${owner}`}`
}
