import { BusySet, CANCELLED_ID, idKey, mcpError, type Connect, type ConnectContext, type Connection, type Message, type Transport } from '@mcp-proxy/protocol'
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
  /** Ids of requests without an answer, as JSON text. */
  readonly #calls = new BusySet<string>()
  readonly #stream: SseStream
  readonly #onend: (session: SseSession) => void
  #connection: Connection | undefined
  #closing: Promise<void> | undefined
  #onsettled: (() => void) | undefined

  constructor (id: string, principal: string | undefined, stream: SseStream, onend: (session: SseSession) => void) {
    this.id = id
    this.principal = principal
    this.#stream = stream
    this.#onend = onend
  }

  get sessionId (): string { return this.id }

  open (connect: Connect, context: ConnectContext): void {
    this.#connection = connect(this, context)
  }

  /** @throws MCP_ERR_ID_IN_USE */
  checkId ({ kind, rawId }: Message): void {
    if (kind === 'request' && this.#calls.has(rawId as string)) throw mcpError('MCP_ERR_ID_IN_USE', rawId as string)
  }

  /** A message that the client has posted. */
  receive (message: Message): void {
    if (message.kind === 'request') this.#calls.add(message.rawId as string)
    this.onmessage?.(message)
    if (message.method === 'notifications/cancelled') this.#settle(idKey(message.raw(CANCELLED_ID) ?? ''))
  }

  send (message: Message): void | Promise<void> {
    if (message.kind === 'response') this.#settle(message.rawId)
    return this.#stream.write({ event: 'message', data: message.bytes })
  }

  async settled (): Promise<void> {
    if (this.#calls.size > 0) await new Promise<void>((resolve) => { this.#onsettled = resolve })
  }

  async close (): Promise<void> {
    await (this.#closing ??= this.#close())
  }

  #settle (rawId: string | undefined): void {
    if (rawId === undefined || !this.#calls.delete(rawId) || this.#calls.size > 0) return
    this.#onsettled?.()
  }

  async #close (): Promise<void> {
    this.#onend(this)
    // nobody is left to hear an answer: a closing app must not wait for one
    this.#onsettled?.()
    await Promise.all([this.#stream.end(), this.#connection?.close()])
  }
}
