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

/** Where clients are until they are placed: a client shows by its first message what kind of child it needs. */
export function waitForPlace ({ settings, log, place }: WaitingRoomOptions, transport: Transport, context: ConnectContext): Connection {
  let connection: Connection | undefined
  // let go of once it is placed: the context holds the whole HTTP request, the connection lives much longer
  let pending: ConnectContext | undefined = context
  let closed = false

  const first = (message: Message): void => {
    if (pending === undefined) return
    const era = pending.era ?? (isModernMessage(message) ? 'modern' : 'legacy')
    const early = era === 'modern' || pending.answers === false ? undefined : answerBeforeHandshake(message)
    if (early !== undefined) {
      void transport.send(early)
      return
    }
    const found = tryPlace(pending, message, era)
    if (!(found instanceof Promise)) {
      pending = undefined
      connection = found
      pass(transport, message)
      return
    }
    const kept = new Backlog(settings, message)
    transport.onmessage = (later) => { if (!kept.add(later)) refuse(transport, later, mcpError('MCP_ERR_CALL_LIMIT', settings.maxPendingCalls)) }
    found.then((granted) => {
      if (closed) {
        void granted.close()
        return
      }
      pending = undefined
      connection = granted
      for (const message of kept.messages) pass(transport, message)
    }, (error: CodedError) => {
      log.warn({ err: error }, 'no child for a client')
      if (closed) return
      // the next message tries again
      transport.onmessage = first
      for (const message of kept.messages) refuse(transport, message, error)
    })
  }

  /** Functions of the app's may throw, and then their client is told. */
  function tryPlace (waiting: ConnectContext, message: Message, era: Era): Connection | Promise<Connection> {
    try {
      return place(transport, waiting, message, era)
    } catch (error) {
      transport.onmessage = message => refuse(transport, message, error as CodedError)
      return { close: async () => {} }
    }
  }

  transport.onmessage = first
  return {
    close: async () => {
      closed = true
      pending = undefined
      transport.onmessage = undefined
      await connection?.close()
    }
  }
}

function refuse (transport: Transport, { kind, rawId }: Message, error: CodedError): void {
  if (kind !== 'request') return
  void transport.send(Message.error(rawId as string, toRpcError(error)), { status: error.statusCode, retryAfter: error.statusCode === 503 ? 1 : undefined, local: true })
}
