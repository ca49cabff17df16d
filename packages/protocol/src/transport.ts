import type { FastifyBaseLogger, FastifyRequest } from './fastify.js'
import type { Message } from './message.js'
import type { Era } from './revisions.js'

/** Where a message sent to a client belongs. */
export interface SendOptions {
  /** JSON text of the id of the client's request that this message is about; without it, about none. */
  readonly relatedRequestId?: string | undefined
  /** HTTP status that fits an error which the proxy itself answers with, where a status can still be chosen. */
  readonly status?: number | undefined
  /** The proxy itself says this, not the server. */
  readonly local?: boolean | undefined
  /** Seconds after which the client may try again. */
  readonly retryAfter?: number | undefined
}

/**
 * One party's end of a connection: what the MCP SDKs call a Transport, carrying {@link Message} instead of parsed
 * objects so that bytes survive. The answering side sets `onmessage` and calls `send`.
 */
export interface Transport {
  readonly sessionId?: string | undefined
  /** Delivers to the party. Never throws. A promise means the party reads too slowly: it settles when there is room again. */
  send: (message: Message, options?: SendOptions) => void | Promise<void>
  /** Ends the party's side. Harmless when called twice. */
  close: () => void | Promise<void>
  /** Set by the answering side: called for each message from the party. */
  onmessage?: ((message: Message) => void) | undefined
}

/** Who connects, as the endpoint knows it. */
export interface ConnectContext {
  /** Names the connection in logs; not a secret. */
  readonly id: string
  /** The authenticated user; `undefined` where nobody asks for one. */
  readonly principal: string | undefined
  /** The HTTP request that opened the connection; `undefined` off HTTP. */
  readonly request: FastifyRequest | undefined
  readonly log: FastifyBaseLogger
  /** What the party speaks, where its endpoint knows. @default what its first message shows */
  readonly era?: Era | undefined
  /** `false` when the party can never answer a request, as without a session. @default true */
  readonly answers?: boolean | undefined
}

/** What answers a party: closing it releases what was held for that party alone; a promise where that takes time. */
export interface Connection {
  close: () => void | Promise<void>
}

/**
 * Joins one party to whatever answers it: a child process, a remote server, an in-process server.
 * Synchronous on purpose: the first message may follow at once, and slow starts are the answering side's to queue.
 */
export type Connect = (transport: Transport, context: ConnectContext) => Connection
