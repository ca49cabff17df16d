import { Message, isModernMessage, mcpError, toRpcError, type CodedError, type ConnectContext, type Connection, type Era, type FastifyBaseLogger, type Transport } from '@mcp-proxy/protocol'
import { Backlog } from './backlog.js'
import { answerBeforeHandshake } from './handshake.js'
import { pass } from './pass.js'
import type { BridgeSettings } from './options.js'

export interface WaitingRoomOptions {
  readonly settings: Pick<BridgeSettings, 'maxPendingCalls' | 'maxQueuedInput'>
  readonly log: FastifyBaseLogger
  /** Finds what answers a client, whose first message shows what it needs; a promise where that has to be waited for. May throw a CodedError, or reject with one. */
  readonly place: (transport: Transport, context: ConnectContext, first: Message, era: Era) => Connection | Promise<Connection>
}

/**
 * A client, which waits here until it is placed: it shows by its first message what kind of child it needs. The most
 * there is of anything, so it is one object with one closure.
 */
export class WaitingClient implements Connection {
  readonly #room: WaitingRoomOptions
  readonly #transport: Transport
  #connection: Connection | undefined
  /** Let go of once it is placed: the context holds the whole HTTP request, the connection lives much longer. */
  #context: ConnectContext | undefined
  #closed = false

  constructor (room: WaitingRoomOptions, transport: Transport, context: ConnectContext) {
    this.#room = room
    this.#transport = transport
    this.#context = context
    this.#wait()
  }

  close (): void | Promise<void> {
    this.#closed = true
    this.#context = undefined
    this.#transport.onmessage = undefined
    return this.#connection?.close()
  }

  #wait (): void {
    this.#transport.onmessage = message => this.#first(message)
  }

  #first (message: Message): void {
    const context = this.#context
    if (context === undefined) return
    const era = context.era ?? (isModernMessage(message) ? 'modern' : 'legacy')
    const early = era === 'modern' || context.answers === false ? undefined : answerBeforeHandshake(message)
    if (early !== undefined) {
      void this.#transport.send(early)
      return
    }
    const found = this.#place(context, message, era)
    if (found instanceof Promise) this.#queue(found, message)
    else this.#placed(found, [message])
  }

  /** Functions of the app's may throw, and then their client is told. */
  #place (context: ConnectContext, message: Message, era: Era): Connection | Promise<Connection> {
    const transport = this.#transport
    try {
      return this.#room.place(transport, context, message, era)
    } catch (error) {
      transport.onmessage = message => refuse(transport, message, error as CodedError)
      return { close: () => {} }
    }
  }

  #placed (connection: Connection, messages: readonly Message[]): void {
    this.#context = undefined
    this.#connection = connection
    for (const message of messages) pass(this.#transport, message)
  }

  /** What comes until there is a place follows in its turn. */
  #queue (found: Promise<Connection>, first: Message): void {
    const { settings, log } = this.#room
    const transport = this.#transport
    const kept = new Backlog(settings, first)
    transport.onmessage = (later) => { if (!kept.add(later)) refuse(transport, later, mcpError('MCP_ERR_CALL_LIMIT', settings.maxPendingCalls)) }
    found.then((granted) => {
      if (this.#closed) granted.close()?.catch((err: unknown) => log.error({ err }, 'connection did not end cleanly'))
      else this.#placed(granted, kept.messages)
    }, (error: CodedError) => {
      log.warn({ err: error }, 'no child for a client')
      if (this.#closed) return
      // the next message tries again
      this.#wait()
      for (const message of kept.messages) refuse(transport, message, error)
    })
  }
}

function refuse (transport: Transport, { kind, rawId }: Message, error: CodedError): void {
  if (kind !== 'request') return
  void transport.send(Message.error(rawId as string, toRpcError(error)), { status: error.statusCode, retryAfter: error.statusCode === 503 ? 1 : undefined, local: true })
}
