import type { Message } from '@mcp-proxy/protocol'
import { messagesOf, type StreamEvent } from './answer.js'
import { Conversation } from './conversation.js'
import { Delivery } from './delivery.js'
import { followStream } from './followed-stream.js'
import { GetStream } from './get-stream.js'
import { discard, type Http } from './http.js'
import { reintroduce } from './reintroduction.js'
import { SessionHttp } from './session-http.js'
import { readAnswer, refusalAnswer, refusalError, type Refusal } from './stream-request.js'
import type { Call, Calls } from './calls.js'
import type { Party } from './party.js'
import type { SessionMemory } from './session-memory.js'
import type { RemoteSettings } from './options.js'

export interface StreamSessionOptions {
  readonly http: Http
  readonly party: Party
  readonly settings: RemoteSettings
  readonly memory: SessionMemory
  /** The server speaks Streamable HTTP. */
  readonly onstream: () => void
  /** The server has shaken hands. */
  readonly onintroduced: () => void
  /** The server has refused the first message as one that does not. Returns whether the messages are to be handed over. */
  readonly onrefused: () => boolean
  readonly onhandover: (messages: readonly Message[]) => void
}

/** What servers of HTTP+SSE say to a POST at their URL (2025-03-26, "Transports", Backwards Compatibility), beside 405; 400 since 2026-07-28. */
const NO_STREAM: ReadonlySet<number> = new Set([400, 404])

/** A session of one party over Streamable HTTP (2025-03-26 to 2025-11-25). */
export class StreamSession {
  readonly #options: StreamSessionOptions
  readonly #party: Party
  readonly #conversation: Conversation
  readonly #calls: Calls
  readonly #http: SessionHttp
  readonly #delivery: Delivery
  readonly #stream: GetStream
  readonly #end = new AbortController()
  /** The party has shaken hands: it may be told what is about no request. */
  #listens = false
  /** Requests that were cancelled, by the notification that says so. */
  readonly #cancelled = new Map<Message, Call>()
  /** The server has answered: it is one of Streamable HTTP. */
  #met = false

  constructor (options: StreamSessionOptions) {
    this.#options = options
    this.#party = options.party
    this.#conversation = new Conversation({
      ...options,
      send: (message, call) => call === undefined ? this.#tell(message) : this.#calls.run(call, () => this.#exchange(call)),
      onwithdrawn: (call, notification) => this.#withdrawn(call, notification),
    })
    this.#calls = this.#conversation.calls
    const http = this.#http = new SessionHttp(options.http, options.party.context)
    this.#delivery = new Delivery({
      http,
      settings: options.settings,
      reopen: () => this.#reopen(),
      tell: news => this.#party.tell(news),
      ontaken: () => this.#meet(),
    })
    this.#stream = new GetStream({
      settings: options.settings,
      open: (lastEventId, signal) => http.get(lastEventId, signal),
      onevent: event => this.#heard(event, undefined),
      onlost: () => { void this.#renew() },
    })
  }

  receive (message: Message): void {
    this.#conversation.receive(message)
  }

  async close (): Promise<void> {
    if (this.#end.signal.aborted) return
    this.#end.abort()
    this.#party.leave()
    this.#conversation.stop()
    this.#stream.stop()
    try {
      await this.#http.end()
    } catch (err) {
      this.#log({ err }, 'the session could not be ended')
    }
  }

  /** Sends what has no answer. */
  async #tell (message: Message, renews: boolean = true): Promise<void> {
    try {
      const { response, refusal } = await this.#delivery.deliver(message, this.#end.signal, renews)
      if (refusal === undefined) {
        await discard(response)
        if (message.method === 'notifications/initialized') this.#listen()
      } else this.#log({ status: refusal.status, method: message.method }, 'the server has refused a message')
    } catch (err) {
      if (!this.#end.signal.aborted) this.#log({ err, method: message.method }, 'a message has not reached the server')
    }
    if (message.method === 'notifications/cancelled') this.#cancelled.get(message)?.controller.abort()
    this.#cancelled.delete(message)
  }

  #withdrawn (call: Call, notification: Message | undefined): void {
    // what says it has to arrive before the request is ended
    if (notification === undefined) call.controller.abort()
    else this.#cancelled.set(notification, call)
  }

  #meet (): void {
    if (!this.#met) this.#options.onstream()
    this.#met = true
    // the stream may have been given up while the server was away
    if (this.#listens) this.#stream.ensure()
  }

  #listen (): void {
    this.#listens = true
    this.#stream.ensure()
  }

  async #exchange (call: Call): Promise<void> {
    const { settings } = this.#options
    const { response, refusal } = await this.#delivery.deliver(call.message, call.controller.signal, call.own === undefined)
    if (refusal !== undefined) return await this.#refused(call, refusal)
    if (call.message.method === 'initialize') this.#http.opens(response)
    await readAnswer(response, {
      settings,
      onmessage: message => this.#receive(message, call),
      follow: stream => followStream(stream, {
        settings,
        controller: call.controller,
        onevent: event => this.#heard(event, call),
        isOver: () => !this.#calls.isOpen(call),
        resume: (lastEventId, signal) => this.#http.get(lastEventId, signal),
      }),
      isOpen: () => this.#calls.isOpen(call),
    })
  }

  async #refused (call: Call, refusal: Refusal): Promise<void> {
    const { settings, onrefused } = this.#options
    const { message, status } = refusal
    // handed over already, with another message
    if (this.#end.signal.aborted) return
    // what is no JSON-RPC is not from a server of Streamable HTTP; that POST is not allowed, one cannot say
    if (!this.#met && (status === 405 || (message === undefined && NO_STREAM.has(status))) && onrefused()) {
      // several requests may be on their way: a server that does not know this transport has worked on none
      this.#end.abort()
      this.#options.onhandover(this.#conversation.handOver())
      return
    }
    if (message !== undefined) {
      this.#meet()
      await this.#answer(call, refusalAnswer(message, call.rawId))
      return
    }
    throw refusalError(refusal, settings)
  }

  async #heard (event: StreamEvent, call: Call | undefined): Promise<void> {
    for (const message of messagesOf(event)) await this.#receive(message, call)
  }

  async #receive (message: Message, about: Call | undefined): Promise<void> {
    if (message.kind === 'response') {
      const call = this.#calls.get(message.rawId ?? '')
      if (call === undefined) this.#log({}, 'dropped an answer to no open call')
      else await this.#answer(call, message)
      return
    }
    if (about === undefined) return await this.#party.tell(message)
    // what is about a call that the party has given up has come too late
    if (about.controller.signal.aborted || about.own !== undefined) return
    await this.#party.tell(message, { relatedRequestId: about.rawId })
  }

  async #answer (call: Call, message: Message): Promise<void> {
    // before the call is taken: what cannot be read is no answer
    if (call.message.method === 'initialize' && !message.failed) {
      this.#http.establish(message)
      this.#options.onintroduced()
    }
    await this.#calls.answer(call, message)
  }

  async #reopen (): Promise<Message[]> {
    const { memory, settings } = this.#options
    settings.log.info({ server: settings.name }, 'the server has forgotten the session: another is opened')
    this.#stream.stop()
    this.#listens = false
    return await reintroduce({ memory, settings, ask: make => this.#conversation.ask(make), tell: message => this.#tell(message, false) })
  }

  /** The session is lost, and nobody has said anything. */
  async #renew (): Promise<void> {
    if (this.#end.signal.aborted) return
    try {
      await this.#delivery.renew()
    } catch (err) {
      this.#log({ err }, 'no other session could be opened: the next message tries again')
    }
  }

  #log (object: object, text: string): void {
    const { log, name } = this.#options.settings
    log.debug({ server: name, ...object }, text)
  }
}
