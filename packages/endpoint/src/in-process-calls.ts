import { BusyMap, CANCELLED_ID, type JsonRpcMessage, type Message } from '@mcp-proxy/protocol'
import { Ticker, type Ticking } from './ticker.js'

/** A request of the client that has no answer. */
interface Call {
  readonly rawId: string
  /** Milliseconds that it may take. */
  readonly time: number
  /** `Date.now()` at which it is given up; `Infinity` is never. */
  readonly deadline: number
}

export interface InProcessCallsOptions {
  /** Looks after the calls of all clients. */
  readonly ticker: Ticker
  /** A call has taken its `time`, in milliseconds; `id` is what the server knows it under. */
  readonly onexpired: (rawId: string, id: unknown, time: number) => void
}

/** How often calls are looked at: they may take a tenth of their time more, or this many milliseconds. */
const MAX_INTERVAL = 1_000

/** What looks after the calls, of all clients whose calls may take these times; `0` is for ever. */
export function callTicker (...times: readonly number[]): Ticker {
  return new Ticker(Math.min(MAX_INTERVAL, ...times.filter(time => time > 0).map(time => Math.ceil(time / 10))))
}

/** The open calls of one client. A call is named by the JSON text of the id that the server knows it under. */
export class InProcessCalls implements Ticking {
  readonly #options: InProcessCallsOptions
  readonly #calls = new BusyMap<string, Call>()
  #ticks = false

  constructor (options: InProcessCallsOptions) {
    this.#options = options
  }

  get size (): number { return this.#calls.size }

  /** Whether a request has the id of one that is open. */
  has (request: Message): boolean {
    return this.#calls.has(keyOf(request.rawId as string))
  }

  /** @param time milliseconds that the call may take; `0` is for ever */
  open (request: Message, time: number): void {
    const rawId = request.rawId as string
    this.#calls.set(keyOf(rawId), { rawId, time, deadline: time === 0 ? Infinity : Date.now() + time })
    if (this.#ticks || time === 0) return
    this.#ticks = true
    this.#options.ticker.add(this)
  }

  tick (): void {
    // not with the last answer: a client that makes one call after the other would come and go with each
    if (this.#calls.size === 0) this.#rest()
    const now = Date.now()
    for (const [key, { rawId, time, deadline }] of [...this.#calls]) {
      if (deadline > now || !this.#calls.delete(key)) continue
      this.#options.onexpired(rawId, JSON.parse(key), time)
    }
  }

  /** The client's id of a call, as it has written it, by the server's. */
  rawIdOf (id: unknown): string | undefined {
    return this.#calls.get(JSON.stringify(id))?.rawId
  }

  /** Nobody waits for an answer any more; returns the client's id, `undefined` when nobody did. */
  settle (id: unknown): string | undefined {
    return this.#settle(JSON.stringify(id))
  }

  /** The client has cancelled a call. */
  cancel (notification: Message): void {
    const raw = notification.raw(CANCELLED_ID)
    if (raw !== undefined) this.#settle(keyOf(raw))
  }

  /** Settles all; returns the client's ids. */
  drain (): string[] {
    const rawIds = [...this.#calls.values()].map(({ rawId }) => rawId)
    this.#calls.clear()
    this.#rest()
    return rawIds
  }

  #rest (): void {
    this.#ticks = false
    this.#options.ticker.delete(this)
  }

  #settle (key: string): string | undefined {
    const call = this.#calls.get(key)
    this.#calls.delete(key)
    return call?.rawId
  }
}

/** A message as a server gets it. */
export function toServer (message: Message): JsonRpcMessage {
  if (message.kind === 'request') return message.rewrite(keyOf(message.rawId as string)).toJSON()
  const cancelled = message.method === 'notifications/cancelled' ? message.raw(CANCELLED_ID) : undefined
  return cancelled === undefined ? message.toJSON() : message.rewrite(undefined, [[CANCELLED_ID, keyOf(cancelled)]]).toJSON()
}

/** SDKs take strings, and whole numbers that are exact: any other number is told as a string. */
function keyOf (raw: string): string {
  const value = JSON.parse(raw) as unknown
  return JSON.stringify(typeof value === 'string' || Number.isSafeInteger(value) ? value : `number ${raw}`)
}
