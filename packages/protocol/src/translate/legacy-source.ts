import type { Message } from '../message.js'
import type { ConnectContext, Connection, Transport } from '../transport.js'

/** What a request of a modern client needs of a server that shakes hands. */
export interface Need {
  readonly method: string
  /**
   * Parameters of `initialize`, as JSON text, by which the server has to know the client: its name, and what it can be
   * asked. `undefined` when any introduction will do.
   */
  readonly introduction: string | undefined
  /** Nobody else may use the server meanwhile: it may ask or log something, which has to be about this request. */
  readonly alone: boolean
  /** The request stays open, as a subscription does: a server that serves one call and goes is of no use. */
  readonly stays: boolean
  /** Makes the signal that is aborted when the server is not wanted any more: for sources that wait, since a signal costs more than a message. */
  readonly signal: () => AbortSignal
}

/** A server that has shaken hands, as one request of a modern client sees it. */
export interface LegacyServer {
  /** What it has answered to `initialize`. */
  readonly initializeAnswer: Message
  /** Nobody else uses it: what it asks and logs is about this request. */
  readonly alone: boolean
  /** Joins the party that the request comes from. It does not shake hands again. Closing the connection gives the server back; what is open is cancelled. Each server is joined once, also when it is not wanted any more. */
  readonly connect: (transport: Transport) => Connection
}

/** Where servers come from that shake hands: child processes, a remote server, one in the process. */
export interface LegacySource {
  /**
   * A server for one request; a promise where it has to be waited for.
   * @throws CodedError, or rejects with it
   */
  open: (need: Need, context: ConnectContext) => LegacyServer | Promise<LegacyServer>
}
