import { CANCELLED_ID, CLIENT_CAPABILITIES_KEY, HEADER_MISMATCH, LATEST_MODERN_REVISION, Message, PROTOCOL_VERSION_KEY, idKey, type ConnectContext, type Connection, type Transport } from '@mcp-proxy/protocol'
import { readEvents, readMessages } from './answer.js'
import { Calls, type Call } from './calls.js'
import { discard, type Http } from './http.js'
import { Linger } from './linger.js'
import { Listen } from './listen.js'
import { modernHeaders } from './modern-request.js'
import { Party } from './party.js'
import { post, readAnswer, readRefusal, refusalAnswer, refusalError } from './stream-request.js'
import type { RemoteSettings } from './options.js'
import type { ToolParams } from './tool-params.js'

export interface ModernRemoteOptions {
  readonly http: Http
  readonly settings: RemoteSettings
  readonly tools: ToolParams
}

const LISTEN = 'subscriptions/listen'
const MAX_PAGES = 100
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
    await this.#calls.run(call, () => call.message.method === LISTEN ? this.#listen(call) : this.#exchange(call, true))
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
      await this.#answer(call, refusalAnswer(refusal.message, call.rawId))
      return
    }
    await readAnswer(response, {
      settings,
      onmessage: message => this.#heard(call, message),
      follow: stream => this.#follow(call, stream),
      isOpen: () => this.#calls.isOpen(call),
    })
  }

  async #follow (call: Call, response: Response): Promise<void> {
    const linger = new Linger(call.controller)
    try {
      for await (const { data } of readEvents(response, this.#options.settings, () => {})) {
        for (const message of data === '' ? [] : readMessages(Buffer.from(data))) await this.#heard(call, message)
        if (!this.#calls.isOpen(call)) linger.begin()
      }
    } finally {
      linger.end()
    }
  }

  #post ({ message, controller }: Call, more: Record<string, string> = {}): Promise<Response> {
    return post(this.#options.http, this.#party.context, message, { ...modernHeaders(message), ...more }, controller.signal)
  }

  async #heard (call: Call, message: Message): Promise<void> {
    if (!this.#calls.isOpen(call)) return
    if (message.kind === 'notification') {
      if (call.own === undefined) await this.#party.tell(message, { relatedRequestId: call.rawId })
    } else if (message.kind === 'response' && message.rawId === call.rawId) await this.#answer(call, message)
    else this.#debug({ kind: message.kind }, 'dropped a message that does not belong here')
  }

  async #answer (call: Call, answer: Message): Promise<void> {
    const { settings, tools } = this.#options
    // before the call is taken: what cannot be read is no answer
    await this.#calls.answer(call, call.message.method === 'tools/list' ? tools.learn(answer, settings.log) : answer)
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
      tell: message => this.#calls.isOpen(call) ? this.#party.tell(message, { relatedRequestId: call.rawId }) : undefined,
      end: message => this.#calls.isOpen(call) ? this.#answer(call, message) : undefined,
    }).run()
  }

  #debug (object: object, text: string): void {
    const { log, name } = this.#options.settings
    log.debug({ server: name, ...object }, text)
  }
}
