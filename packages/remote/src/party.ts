import { Message, toRpcError, type CodedError, type ConnectContext, type SendOptions, type Transport } from '@mcp-proxy/protocol'

/** Whoever speaks with the server through us. Nothing is said to one that has left. */
export class Party {
  readonly context: ConnectContext
  readonly #transport: Transport
  #left = false

  constructor (transport: Transport, context: ConnectContext) {
    this.#transport = transport
    this.context = context
  }

  get left (): boolean { return this.#left }

  tell (message: Message, options?: SendOptions): void | Promise<void> {
    return this.#left ? undefined : this.#transport.send(message, options)
  }

  /** Answers a request with an error of ours. */
  refuse (rawId: string, error: CodedError): void {
    void this.tell(Message.error(rawId, toRpcError(error)), { local: true, status: error.statusCode, retryAfter: error.retryAfter })
  }

  leave (): void {
    this.#left = true
  }
}
