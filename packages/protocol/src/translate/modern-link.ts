import { BusyMap } from '../busy.js'
import { METHOD_NOT_FOUND } from '../json-rpc.js'
import { CANCELLED_ID, Message } from '../message.js'
import type { Connect, ConnectContext, Connection, SendOptions, Transport } from '../transport.js'

/** Who has asked the server something and waits for the answer. */
export interface Asker {
  /** JSON text of the id under which the server knows the request; `undefined` while there is none. Set by the link. */
  upstreamId: string | undefined
  /** JSON text of the id of the client's request that this one is for; `undefined` when the client has not asked for it. */
  readonly clientId: string | undefined
  /** The one answer. */
  readonly answered: (message: Message, options: SendOptions | undefined) => void | Promise<void>
}

export interface ModernLinkOptions {
  /** A notification of the server; `asker` is who it is about, where that is known. */
  readonly onnotification: (message: Message, options: SendOptions | undefined) => void | Promise<void>
  /** The server itself has answered something: it can be reached. Called before whoever has asked. */
  readonly onreached: () => void
  /** The server's side has ended by itself. */
  readonly onclose: () => void
}

/** A session's end of the connection to a modern server: gives requests ids of its own, and takes answers to who asked. */
export class ModernLink {
  readonly #transport: Transport
  readonly #options: ModernLinkOptions
  readonly #log: ConnectContext['log']
  readonly #open = new BusyMap<string, Asker>()
  #connection: Connection | undefined
  #lastId = 0
  #closed = false

  constructor (log: ConnectContext['log'], options: ModernLinkOptions) {
    this.#options = options
    this.#log = log
    this.#transport = {
      send: (message, sendOptions) => this.#closed ? undefined : this.#receive(message, sendOptions),
      close: () => { if (!this.#closed) options.onclose() },
    }
  }

  open (connect: Connect, context: ConnectContext): void {
    this.#connection = connect(this.#transport, { ...context, era: 'modern' })
    // a server that cannot be reached may have said so at once
    if (this.#closed) void this.#connection.close()
  }

  /** Asks the server, under a fresh id. */
  ask (request: Message, asker: Asker): void {
    const id = String(++this.#lastId)
    // known before the server is: its answer may come at once
    asker.upstreamId = id
    this.#open.set(id, asker)
    this.tell(request.rewrite(id))
  }

  tell (message: Message): void {
    if (!this.#closed) this.#transport.onmessage?.(message)
  }

  /**
   * Gives a request up and tells the server so (2026-07-28, "Cancellation").
   * @param notification the client's own words, whose request id is replaced
   */
  cancel (asker: Asker, notification: Message = Message.notification('notifications/cancelled', { requestId: 0 })): void {
    const id = asker.upstreamId
    if (id === undefined) return
    this.forget(asker)
    this.tell(notification.rewrite(undefined, [[CANCELLED_ID, id]]))
  }

  /** Who has asked under an id, as JSON text, and is still waiting. */
  askerOf (upstreamId: string | undefined): Asker | undefined {
    return upstreamId === undefined ? undefined : this.#open.get(upstreamId)
  }

  /** Expects no answer any more. */
  forget (asker: Asker): void {
    if (asker.upstreamId !== undefined) this.#open.delete(asker.upstreamId)
    asker.upstreamId = undefined
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#open.clear()
    await this.#connection?.close()
  }

  #receive (message: Message, options: SendOptions | undefined): void | Promise<void> {
    if (message.kind === 'notification') return this.#options.onnotification(message, options)
    if (message.kind === 'request') {
      // a server of this revision asks in its results ("Multi Round-Trip Requests")
      this.tell(Message.error(message.rawId as string, { code: METHOD_NOT_FOUND, message: `Method not found: ${message.method}` }))
      return
    }
    if (options?.local !== true) this.#options.onreached()
    const asker = this.askerOf(message.rawId)
    if (asker === undefined) {
      this.#log.debug({ id: message.rawId }, 'dropped an answer to no open call')
      return
    }
    this.forget(asker)
    return asker.answered(message, options)
  }
}
