import { INTERNAL_ERROR, Message, admitsLevel, isLogLevel, mcpError, toRpcError, type CodedError, type ConnectContext, type Connection, type Id, type JsonRpcMessage, type Transport } from '@mcp-proxy/protocol'
import { InProcessCalls, toServer } from './in-process-calls.js'
import { isChange, type ChangeListener, type InProcessChanges } from './in-process-changes.js'
import { createdWithin } from './in-process-created.js'
import type { InProcessServer } from './in-process.js'
import type { Ticker } from './ticker.js'
import { ServerTransport, type SdkMessageExtra } from './sdk-transport.js'

export interface InProcessSettings<S extends InProcessServer> {
  readonly name: string
  readonly startTimeout: number
  readonly requestTimeout: number
  readonly maxPendingCalls: number
  /** Looks after the calls of all sessions. */
  readonly ticker: Ticker
  readonly createServer: (context: ConnectContext) => S | Promise<S>
  readonly onConnect: ((server: S) => void | Promise<void>) | undefined
  readonly onClose: ((server: S) => void | Promise<void>) | undefined
}

/** Bytes of messages that wait for a server to be made. */
const MAX_WAITING = 16 * 1024 * 1024

/** Servers that have a client: another one must neither get them nor end them. */
const taken = new WeakSet<InProcessServer>()

/** One client and the server that was made for it, from the client's first message on. */
export class InProcessSession<S extends InProcessServer> implements Connection, ChangeListener {
  readonly #settings: InProcessSettings<S>
  readonly #transport: Transport
  readonly #context: ConnectContext
  readonly #onend: () => void
  readonly #changes: InProcessChanges | undefined
  /** Resources that the client has subscribed to, where that is looked at. */
  readonly #subscribed = new Set<string>()
  /** The least severe level that the client has asked for. */
  #logLevel: string | undefined
  readonly #extra: SdkMessageExtra
  readonly #calls: InProcessCalls
  /** What came before there was a server. */
  #waiting: Message[] = []
  #waitingBytes = 0
  #starting = false
  #server: S | undefined
  #link: ServerTransport | undefined
  /** The server takes messages. */
  #ready = false
  #ended = false
  #closing: Promise<void> | undefined

  /** @param changes tells those who share a server as their clients see it */
  constructor (settings: InProcessSettings<S>, transport: Transport, context: ConnectContext, onend: () => void, changes?: InProcessChanges) {
    this.#settings = settings
    this.#transport = transport
    this.#context = context
    this.#onend = onend
    const { request } = context
    this.#extra = request === undefined ? {} : { requestInfo: { headers: request.headers } }
    this.#calls = new InProcessCalls({ ticker: settings.ticker, onexpired: (rawId, id, time) => this.#expired(rawId, id, time) })
    this.#changes = changes
    changes?.add(this)
    transport.onmessage = message => this.#receive(message)
  }

  get principal (): string | undefined { return this.#context.principal }

  hear (change: Message): void {
    void this.#transport.send(change)
  }

  subscribes (uri: unknown): boolean {
    return typeof uri === 'string' && this.#subscribed.has(uri)
  }

  /** The client has left. */
  async close (): Promise<void> {
    await (this.#closing ??= this.#close(undefined))
  }

  /** The proxy ends. */
  async stop (): Promise<void> {
    await this.#end(mcpError('MCP_ERR_STOPPED'))
  }

  #receive (message: Message): void {
    if (message.kind === 'request') {
      const refusal = this.#refusal(message)
      if (refusal !== undefined) {
        this.#answer(message.rawId as string, refusal)
        return
      }
      const { requestTimeout, startTimeout } = this.#settings
      this.#calls.open(message, message.method === 'initialize' ? startTimeout : requestTimeout)
      this.#note(message)
    } else if (message.method === 'notifications/cancelled') {
      this.#calls.cancel(message)
    }
    if (this.#ready) this.#deliver(message)
    else this.#wait(message)
  }

  #refusal (message: Message): CodedError | undefined {
    const { maxPendingCalls, name } = this.#settings
    if (this.#calls.has(message)) return mcpError('MCP_ERR_ID_IN_USE', message.rawId as string)
    if (this.#calls.size >= maxPendingCalls) return mcpError('MCP_ERR_CALL_LIMIT', maxPendingCalls)
    if (!this.#ready && this.#waitingBytes + message.bytes.length > MAX_WAITING) return mcpError('MCP_ERR_CHILD_BUSY', name)
    return undefined
  }

  #expired (rawId: string, requestId: unknown, time: number): void {
    if (this.#ready) this.#deliver(Message.notification('notifications/cancelled', { requestId, reason: 'timeout' }))
    this.#answer(rawId, mcpError('MCP_ERR_REQUEST_TIMEOUT', time))
  }

  /** What decides later what the client hears. */
  #note ({ method, params }: Message): void {
    if (method === 'logging/setLevel' && isLogLevel(params?.['level'])) this.#logLevel = params['level']
    const uri = params?.['uri']
    if (this.#changes === undefined || typeof uri !== 'string') return
    if (method === 'resources/subscribe') this.#subscribed.add(uri)
    else if (method === 'resources/unsubscribe') this.#subscribed.delete(uri)
  }

  #wait (message: Message): void {
    // requests are counted, and refused, before; of other messages the ones that are too many are lost
    const room = this.#waiting.length < 2 * this.#settings.maxPendingCalls && this.#waitingBytes + message.bytes.length <= MAX_WAITING
    if (!room && message.kind !== 'request') return
    this.#waiting.push(message)
    this.#waitingBytes += message.bytes.length
    if (this.#starting) return
    this.#starting = true
    this.#start().catch((cause: unknown) => this.#failed(cause))
  }

  async #start (): Promise<void> {
    const { createServer, startTimeout } = this.#settings
    const server = await createdWithin(startTimeout, () => createServer(this.#context), late => this.#giveAway(late))
    if (this.#ended) {
      await this.#giveAway(server)
      return
    }
    if (taken.has(server)) throw new TypeError('createServer has returned a server that has a client already: make one for each')
    taken.add(server)
    const link: ServerTransport = new ServerTransport({
      sessionId: this.#transport.sessionId,
      onsend: (message, relatedRequestId) => this.#sent(message, relatedRequestId),
      onend: () => { if (this.#link === link) this.#lost() },
    })
    this.#server = server
    this.#link = link
    await server.connect(link)
    // it may have been closed meanwhile
    if (this.#ended) return
    await this.#settings.onConnect?.(server)
    if (this.#ended) {
      // whoever was told of its begin is told of its end
      await this.#tell(server)
      return
    }
    this.#ready = true
    const waiting = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    for (const message of waiting) this.#deliver(message)
  }

  /** Those who wait are told so; the next message tries again. */
  async #failed (cause: unknown): Promise<void> {
    const { name } = this.#settings
    const refused = isRefusal(cause)
    if (!refused) this.#context.log.error({ err: cause, server: name }, 'a server could not be made')
    const error = refused ? cause : mcpError('MCP_ERR_CREATE_SERVER', name, { cause })
    const server = this.#server
    this.#server = this.#link = undefined
    this.#starting = false
    this.#waiting = []
    this.#waitingBytes = 0
    for (const rawId of this.#calls.drain()) this.#answer(rawId, error)
    if (server !== undefined) await this.#closeServer(server)
  }

  #deliver (message: Message): void {
    try {
      this.#link?.onmessage?.(toServer(message), this.#extra)
    } catch (err) {
      this.#context.log.error({ err, server: this.#settings.name }, 'a server failed to take a message')
    }
  }

  #sent (json: JsonRpcMessage, relatedRequestId: Id | undefined): void | Promise<void> {
    if (this.#ended) return
    if (json.method === undefined) return this.#answered(json)
    // SDK v1 keeps a level for each session, and looks for it only where the server names the session with the message
    if (json.method === 'notifications/message' && !admitsLevel(this.#logLevel, json.params?.['level'])) return
    const message = Message.from(json)
    if (this.#changes !== undefined && isChange(message)) this.#changes.tell(this, message)
    return this.#transport.send(message, relatedRequestId === undefined ? undefined : { relatedRequestId: this.#calls.rawIdOf(relatedRequestId) ?? JSON.stringify(relatedRequestId) })
  }

  #answered (json: JsonRpcMessage): void | Promise<void> {
    const rawId = this.#calls.settle(json.id)
    if (rawId === undefined) {
      this.#context.log.debug({ server: this.#settings.name }, 'dropped an answer to no open call')
      return
    }
    try {
      return this.#transport.send(Message.from(json).rewrite(rawId))
    } catch (error) {
      // what JSON cannot say, such as a circle: the client must not wait for ever
      void this.#transport.send(Message.error(rawId, { code: INTERNAL_ERROR, message: 'The answer of the MCP server cannot be written as JSON' }))
      throw error
    }
  }

  #answer (rawId: string, error: CodedError): void {
    const { statusCode, retryAfter } = error
    void this.#transport.send(Message.error(rawId, toRpcError(error)), { relatedRequestId: rawId, status: statusCode, retryAfter, local: true })
  }

  /** The server has ended the connection. */
  #lost (): void {
    const error = mcpError('MCP_ERR_CHILD_EXITED', this.#settings.name, 'it has closed the connection')
    this.#end(error).catch((err: unknown) => this.#context.log.error({ err }, 'a session did not end cleanly'))
  }

  /** It ends from this side: who waits is told why, and the client that it is over. */
  async #end (error: CodedError): Promise<void> {
    if (this.#ended) return
    await (this.#closing = this.#close(error))
    await this.#transport.close()
  }

  async #close (error: CodedError | undefined): Promise<void> {
    // before anything else: what follows closes the link, which would end it again
    this.#ended = true
    this.#changes?.delete(this)
    this.#onend()
    this.#transport.onmessage = undefined
    this.#waiting = []
    for (const rawId of this.#calls.drain()) if (error !== undefined) this.#answer(rawId, error)
    const server = this.#server
    if (server === undefined) return
    await this.#closeServer(server)
    await this.#link?.close()
    if (this.#ready) await this.#tell(server)
  }

  async #tell (server: S): Promise<void> {
    try {
      await this.#settings.onClose?.(server)
    } catch (err) {
      this.#context.log.error({ err }, 'a session hook failed')
    }
  }

  /** Nobody has used it. */
  async #giveAway (server: S): Promise<void> {
    if (!taken.has(server)) await this.#closeServer(server)
  }

  async #closeServer (server: S): Promise<void> {
    try {
      await server.close?.()
    } catch (err) {
      this.#context.log.error({ err, server: this.#settings.name }, 'a server did not end cleanly')
    } finally {
      taken.delete(server)
    }
  }
}

/** An error that is meant for the client. */
function isRefusal (error: unknown): error is CodedError {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode >= 400 && error.statusCode < 500
}
