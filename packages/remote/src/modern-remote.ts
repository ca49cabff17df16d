import { CANCELLED_ID, CLIENT_CAPABILITIES_KEY, HEADER_MISMATCH, LATEST_MODERN_REVISION, Message, PROTOCOL_VERSION_KEY, idKey, mcpError, type CodedError, type ConnectContext, type Connection, type Transport } from '@mcp-proxy/protocol'
import { mediaType, readBody, readEvents, readMessages } from './answer.js'
import { Calls, type Call } from './calls.js'
import { isCoded } from './coded.js'
import { discard, type Http } from './http.js'
import { Listen } from './listen.js'
import { modernHeaders } from './modern-request.js'
import { Party } from './party.js'
import { post, readRefusal, refusalError } from './stream-request.js'
import type { RemoteSettings } from './options.js'
import type { ToolParams } from './tool-params.js'

export interface ModernRemoteOptions {
  readonly http: Http
  readonly settings: RemoteSettings
  readonly tools: ToolParams
}

const LISTEN = 'subscriptions/listen'
const MAX_PAGES = 100
/** Milliseconds that a server has to end a stream whose answer has come. */
const LINGER = 2_000
const META = `"_meta":{"${PROTOCOL_VERSION_KEY}":"${LATEST_MODERN_REVISION}","${CLIENT_CAPABILITIES_KEY}":{}}`

/** A party of 2026-07-28 before a server of the same: each request is an exchange of its own, and its end is its cancellation. */
export class ModernRemote implements Connection {
  readonly #options: ModernRemoteOptions
  readonly #transport: Transport
  readonly #party: Party
  readonly #calls: Calls
  readonly #end = new AbortController()

  constructor (transport: Transport, context: ConnectContext, options: ModernRemoteOptions) {
    this.#options = options
    this.#transport = transport
    this.#party = new Party(transport, context)
    this.#calls = new Calls({ party: this.#party, settings: options.settings, ontimeout: call => call.controller.abort() })
    transport.onmessage = message => this.#receive(message)
  }

  async close (): Promise<void> {
    this.#transport.onmessage = undefined
    this.#party.leave()
    this.#end.abort()
    this.#calls.stop()
  }

  #receive (message: Message): void {
    if (message.kind === 'request') {
      const call = this.#calls.open(message, message.method === LISTEN)
      if (call !== undefined) void this.#run(call)
    } else if (message.method === 'notifications/cancelled') {
      // over HTTP, leaving is what says it ("Streamable HTTP", Cancellation)
      this.#calls.take(idKey(message.raw(CANCELLED_ID) ?? '') ?? '')?.controller.abort()
    } else if (message.kind === 'notification') {
      void this.#tell(message)
    } else {
      this.#debug({}, 'dropped an answer: servers of this revision ask nothing')
    }
  }

  async #run (call: Call): Promise<void> {
    try {
      if (call.message.method === LISTEN) await this.#listen(call)
      else await this.#exchange(call, true)
      this.#calls.fail(call, this.#ended())
    } catch (error) {
      this.#calls.fail(call, isCoded(error) ? error : this.#ended(error))
    }
  }

  async #tell (message: Message): Promise<void> {
    try {
      await discard(await post(this.#options.http, this.#party.context, message, modernHeaders(message), this.#end.signal))
    } catch (err) {
      if (!this.#end.signal.aborted) this.#debug({ err, method: message.method }, 'a message has not reached the server')
    }
  }

  /** @param corrects a call that is refused for its headers is made again, with those that the tools want now */
  async #exchange (call: Call, corrects: boolean): Promise<void> {
    const { settings, tools } = this.#options
    const isCall = call.message.method === 'tools/call'
    const response = await this.#post(call, isCall ? tools.headersOf(call.message) : {})
    if (!response.ok) {
      const refusal = await readRefusal(response, settings)
      if (refusal.message === undefined) throw refusalError(refusal, settings)
      if (isCall && corrects && refusal.message.error?.code === HEADER_MISMATCH && await this.#listTools()) {
        await this.#exchange(call, false)
        return
      }
      await this.#answer(call, readMessages(refusal.message.edit([], { id: call.rawId }).bytes)[0] ?? refusal.message)
      return
    }
    switch (mediaType(response)) {
      case 'application/json':
        for (const message of readMessages(await readBody(response, settings))) await this.#heard(call, message)
        if (this.#isOpen(call)) throw mcpError('MCP_ERR_REMOTE_PROTOCOL', settings.name, 'its JSON is not the answer')
        return
      case 'text/event-stream':
        return await this.#follow(call, response)
      default:
        await discard(response)
        throw mcpError('MCP_ERR_REMOTE_PROTOCOL', settings.name, `HTTP status ${response.status} without an answer`)
    }
  }

  async #follow (call: Call, response: Response): Promise<void> {
    let linger: NodeJS.Timeout | undefined
    try {
      for await (const { data } of readEvents(response, this.#options.settings, () => {})) {
        for (const message of data === '' ? [] : readMessages(Buffer.from(data))) await this.#heard(call, message)
        // the server ends the stream, which leaves the connection to others; one that does not is not waited for
        if (!this.#isOpen(call)) linger ??= setTimeout(() => call.controller.abort(), LINGER).unref()
      }
    } finally {
      clearTimeout(linger)
    }
  }

  #post ({ message, controller }: Call, more: Record<string, string> = {}): Promise<Response> {
    return post(this.#options.http, this.#party.context, message, { ...modernHeaders(message), ...more }, controller.signal)
  }

  #isOpen (call: Call): boolean {
    return this.#calls.get(call.rawId) === call
  }

  async #heard (call: Call, message: Message): Promise<void> {
    if (!this.#isOpen(call)) return
    if (message.kind === 'notification') {
      if (call.own === undefined) await this.#party.tell(message, { relatedRequestId: call.rawId })
    } else if (message.kind === 'response' && message.rawId === call.rawId) await this.#answer(call, message)
    else this.#debug({ kind: message.kind }, 'dropped a message that does not belong here')
  }

  async #answer (call: Call, answer: Message): Promise<void> {
    const { settings, tools } = this.#options
    // before the call is taken: what cannot be read is no answer
    const message = call.message.method === 'tools/list' ? tools.learn(answer, settings.log) : answer
    this.#calls.take(call.rawId)
    if (call.own === undefined) await this.#party.tell(message)
    else call.own.resolve(message)
  }

  /** Asks for the tools, whose schemas may have changed; `false` when they cannot be had. */
  async #listTools (): Promise<boolean> {
    let cursor = ''
    for (let page = 0; page < MAX_PAGES; page++) {
      const list = await this.#ask(rawId => Message.request(rawId, 'tools/list', `{${cursor}${META}}`)).catch(() => undefined)
      if (list?.result === undefined) return false
      const { nextCursor } = list.result
      if (typeof nextCursor !== 'string') return true
      cursor = `"cursor":${JSON.stringify(nextCursor)},`
    }
    return true
  }

  #ask (make: (rawId: string) => Message): Promise<Message> {
    return new Promise((resolve, reject) => { void this.#run(this.#calls.openOwn(make, { resolve, reject })) })
  }

  async #listen (call: Call): Promise<void> {
    const { settings } = this.#options
    await new Listen(call.message, {
      settings,
      signal: call.controller.signal,
      open: () => this.#post(call),
      tell: message => this.#isOpen(call) ? this.#party.tell(message, { relatedRequestId: call.rawId }) : undefined,
      end: message => this.#isOpen(call) ? this.#answer(call, message) : undefined,
    }).run()
  }

  #ended (cause?: unknown): CodedError {
    return mcpError('MCP_ERR_REMOTE_ENDED', this.#options.settings.name, { cause })
  }

  #debug (object: object, text: string): void {
    const { log, name } = this.#options.settings
    log.debug({ server: name, ...object }, text)
  }
}
