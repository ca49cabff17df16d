import type { Id, JsonRpcMessage } from '@mcp-proxy/protocol'

/** What is known of a message beside its text: what SDK v1 calls `MessageExtraInfo`. */
export interface SdkMessageExtra {
  /** The HTTP request that opened the session: not the one that carried this message. */
  readonly requestInfo?: { readonly headers: Readonly<Record<string, string | string[] | undefined>> } | undefined
}

/** The Transport of the MCP SDKs, v1 and v2, as far as a server that is connected to one has to know it. */
export interface SdkTransport {
  start (): Promise<void>
  send (message: JsonRpcMessage, options?: { readonly relatedRequestId?: Id | undefined }): Promise<void>
  close (): Promise<void>
  onmessage?: ((message: never, extra?: never) => void) | undefined
  onclose?: (() => void) | undefined
  onerror?: ((error: Error) => void) | undefined
  readonly sessionId?: string | undefined
}

/** What a server in the process says, and its end. */
export interface SdkTransportOptions {
  /** What SDK servers are told as the id of their session. */
  readonly sessionId: string | undefined
  /** A message of the server; a promise when its client reads too slowly. */
  readonly onsend: (message: JsonRpcMessage, relatedRequestId: Id | undefined) => void | Promise<void>
  /** The server, or whoever holds it, has ended the connection. */
  readonly onend: () => void
}

/** The end of a connection that a server of an MCP SDK holds. */
export class ServerTransport implements SdkTransport {
  readonly sessionId: string | undefined
  onmessage: ((message: JsonRpcMessage, extra?: SdkMessageExtra) => void) | undefined
  onclose: (() => void) | undefined
  onerror: ((error: Error) => void) | undefined
  readonly #options: SdkTransportOptions
  #closed = false

  constructor (options: SdkTransportOptions) {
    this.#options = options
    this.sessionId = options.sessionId
  }

  async start (): Promise<void> {}

  async send (message: JsonRpcMessage, options?: { readonly relatedRequestId?: Id | undefined }): Promise<void> {
    if (this.#closed) throw new Error('the connection is closed')
    // not awaited where there is nothing to wait for: a microtask in between would let a later message overtake
    const room = this.#options.onsend(message, options?.relatedRequestId)
    if (room !== undefined) await room
  }

  async close (): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#options.onend()
    this.onclose?.()
  }
}
