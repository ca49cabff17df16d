import { isModernMessage, mcpError, toRpcError, Message, type CodedError, type Connect, type ConnectContext, type Connection, type Era, type Transport } from '@mcp-proxy/protocol'
import { toCoded } from './coded.js'
import type { RemoteKind } from './remote-kind.js'

/** Messages that wait for it to be known what the server speaks. */
const MAX_WAITING = 1_000

export interface JoinedPartyOptions {
  readonly kind: RemoteKind
  readonly name: string
  /** What answers a party of one era before a server of one era. */
  readonly route: (party: Era, server: Era) => Connect
  readonly onclose: (party: JoinedParty) => void
}

/** One party: its first message shows what it speaks, the server is asked the same, and then both are joined. */
export class JoinedParty implements Connection {
  readonly #transport: Transport
  readonly #context: ConnectContext
  readonly #options: JoinedPartyOptions
  readonly #end = new AbortController()
  #era: Era | undefined
  #waiting: Message[] = []
  #finding = false
  /** The party as whoever answers it sees it. */
  #link: Transport | undefined
  #connection: Connection | undefined

  constructor (transport: Transport, context: ConnectContext, options: JoinedPartyOptions) {
    this.#transport = transport
    this.#context = context
    this.#options = options
    transport.onmessage = message => this.#receive(message)
  }

  async close (): Promise<void> {
    if (this.#end.signal.aborted) return
    this.#end.abort()
    this.#transport.onmessage = undefined
    this.#waiting = []
    this.#options.onclose(this)
    await this.#connection?.close()
  }

  /** The server's side ends. */
  async stop (): Promise<void> {
    const waiting = this.#waiting
    await this.close()
    this.#refuse(waiting, mcpError('MCP_ERR_STOPPED'))
    await this.#transport.close()
  }

  #receive (message: Message): void {
    // a client that has asked in the newer way, and got no answer in time, may go on in the older
    if (message.method === 'initialize' && this.#era === 'modern' && this.#context.era === undefined) this.#part()
    if (this.#link !== undefined) {
      this.#link.onmessage?.(message)
      return
    }
    if (this.#waiting.length >= MAX_WAITING) {
      this.#refuse([message], mcpError('MCP_ERR_CALL_LIMIT', MAX_WAITING))
      return
    }
    this.#waiting.push(message)
    this.#era ??= this.#context.era ?? (message.method !== 'initialize' && isModernMessage(message) ? 'modern' : 'legacy')
    const known = this.#options.kind.known(this.#era)
    if (known !== undefined && !this.#finding) this.#join(this.#era, known)
    else if (!this.#finding) void this.#find(this.#era)
  }

  async #find (era: Era): Promise<void> {
    this.#finding = true
    try {
      const server = await this.#options.kind.find(era, this.#context, this.#end.signal)
      this.#finding = false
      // it may have turned out to be a party of the other era
      if (!this.#end.signal.aborted) this.#join(this.#era ?? era, this.#options.kind.known(this.#era ?? era) ?? server)
    } catch (error) {
      this.#finding = false
      if (this.#end.signal.aborted) return
      const waiting = this.#waiting
      this.#waiting = []
      this.#era = undefined
      this.#refuse(waiting, toCoded(error, this.#options))
    }
  }

  #join (party: Era, server: Era): void {
    const link: Transport = {
      sessionId: this.#transport.sessionId,
      send: (message, options) => this.#link === link ? this.#transport.send(message, options) : undefined,
      close: () => this.#link === link ? this.#transport.close() : undefined,
    }
    this.#link = link
    this.#connection = this.#options.route(party, server)(link, { ...this.#context, era: party })
    for (const message of this.#waiting.splice(0)) link.onmessage?.(message)
  }

  #part (): void {
    const connection = this.#connection
    this.#era = undefined
    this.#link = undefined
    this.#connection = undefined
    this.#waiting = []
    void connection?.close()
  }

  #refuse (messages: readonly Message[], error: CodedError): void {
    for (const { kind, rawId } of messages) {
      if (kind === 'request' && rawId !== undefined) void this.#transport.send(Message.error(rawId, toRpcError(error)), { local: true, status: error.statusCode, retryAfter: error.retryAfter })
    }
  }
}
