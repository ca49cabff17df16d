import { BusyMap, CANCELLED_ID, type JsonRpcMessage, type Message } from '@mcp-proxy/protocol'

/** A request of the client that has no answer. */
interface Call {
  readonly rawId: string
  readonly timer: NodeJS.Timeout | undefined
}

/** The open calls of one client. A call is named by the JSON text of the id that the server knows it under. */
export class InProcessCalls {
  readonly #calls = new BusyMap<string, Call>()

  get size (): number { return this.#calls.size }

  /** Whether a request has the id of one that is open. */
  has (request: Message): boolean {
    return this.#calls.has(keyOf(request.rawId as string))
  }

  /**
   * @param time milliseconds that the call may take; `0` is for ever
   * @param onexpired called when they are over; `id` is what the server knows the call under
   */
  open (request: Message, time: number, onexpired: (rawId: string, id: unknown) => void): void {
    const rawId = request.rawId as string
    const key = keyOf(rawId)
    const expire = (): void => {
      this.#calls.delete(key)
      onexpired(rawId, JSON.parse(key))
    }
    this.#calls.set(key, { rawId, timer: time === 0 ? undefined : setTimeout(expire, time).unref() })
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
    return [...this.#calls.keys()].map(key => this.#settle(key)).filter(rawId => rawId !== undefined)
  }

  #settle (key: string): string | undefined {
    const call = this.#calls.get(key)
    this.#calls.delete(key)
    clearTimeout(call?.timer)
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
