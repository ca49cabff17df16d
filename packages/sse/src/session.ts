import type { Connect, ConnectContext, Connection, Message, Transport } from '@mcp-proxy/protocol'
import type { Session, SseStream } from '@mcp-proxy/endpoint'

/** One client of the HTTP+SSE transport: it lives as long as its event stream (2024-11-05, "HTTP with SSE"). */
export class SseSession implements Session, Transport {
  readonly id: string
  readonly transport = 'sse'
  readonly principal: string | undefined
  readonly busy = true
  lastSeen: number = Date.now()
  onmessage: ((message: Message) => void) | undefined
  onclose: (() => void) | undefined
  readonly #stream: SseStream
  readonly #onend: (session: SseSession) => void
  #connection: Connection | undefined
  #closing: Promise<void> | undefined

  constructor (id: string, principal: string | undefined, stream: SseStream, onend: (session: SseSession) => void) {
    this.id = id
    this.principal = principal
    this.#stream = stream
    this.#onend = onend
  }

  open (connect: Connect, context: ConnectContext): void {
    this.#connection = connect(this, context)
  }

  send (message: Message): void | Promise<void> {
    return this.#stream.write({ event: 'message', data: message.bytes })
  }

  async close (): Promise<void> {
    await (this.#closing ??= this.#close())
  }

  async #close (): Promise<void> {
    this.#onend(this)
    await Promise.all([this.#stream.end(), this.#connection?.close()])
  }
}
