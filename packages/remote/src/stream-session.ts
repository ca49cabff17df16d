import { CONNECTION_CLOSED, LATEST_LEGACY_REVISION, type Message } from '@mcp-proxy/protocol'
import { readMessages, type StreamEvent } from './answer.js'
import { endedError, toCoded } from './coded.js'
import { Conversation } from './conversation.js'
import { GetStream } from './get-stream.js'
import { discard, type Http } from './http.js'
import { LINGER, Linger } from './linger.js'
import { reintroduce } from './reintroduction.js'
import { followStream } from './followed-stream.js'
import { post, readAnswer, readRefusal, refusalAnswer, refusalError, type Refusal } from './stream-request.js'
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

/** A session as the server knows it. */
interface Session {
  readonly id: string | undefined
  readonly revision: string
}

/** What the server says to a POST: its answer is still to be read, its refusal was. */
interface Delivered {
  readonly response: Response
  readonly refusal: Refusal | undefined
}

/** What servers of HTTP+SSE say to a POST at their URL (2025-03-26, "Transports", Backwards Compatibility), beside 405; 400 since 2026-07-28. */
const NO_STREAM: ReadonlySet<number> = new Set([400, 404])
const SESSION_ID = 'mcp-session-id'
const VISIBLE = /^[\x21-\x7e]+$/

/** A session of one party over Streamable HTTP (2025-03-26 to 2025-11-25). */
export class StreamSession {
  readonly #options: StreamSessionOptions
  readonly #party: Party
  readonly #conversation: Conversation
  readonly #calls: Calls
  readonly #stream: GetStream
  readonly #end = new AbortController()
  #session: Session | undefined
  #renewing: Promise<void> | undefined
  /** The id that the answer to `initialize` came with. */
  #newId: string | undefined
  /** The party has shaken hands: it may be told what is about no request. */
  #listens = false
  /** Requests that were cancelled, by the notification that says so. */
  readonly #cancelled = new Map<Message, Call>()
  /** What the party is told when the message has arrived for which the session was renewed. */
  #news: Message[] = []
  /** The server has answered: it is one of Streamable HTTP. */
  #met = false

  constructor (options: StreamSessionOptions) {
    this.#options = options
    this.#party = options.party
    this.#conversation = new Conversation({
      ...options,
      send: (message, call) => call === undefined ? this.#tell(message) : this.#run(call),
      onwithdrawn: (call, notification) => this.#withdrawn(call, notification),
    })
    this.#calls = this.#conversation.calls
    this.#stream = new GetStream({
      settings: options.settings,
      open: (lastEventId, signal) => this.#get(lastEventId, signal),
      onevent: event => this.#heard(event, undefined),
      onlost: () => { void this.#renewAlone() },
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
    const session = this.#session
    if (session?.id === undefined) return
    const { http } = this.#options
    try {
      await discard(await http.send(this.#party.context, { method: 'DELETE', headers: sessionHeaders(session), signal: AbortSignal.timeout(LINGER) }))
    } catch (err) {
      this.#log({ err }, 'the session could not be ended')
    }
  }

  /** Puts a request to the server; its answer, or an error of ours, reaches whoever waits for it. */
  async #run (call: Call): Promise<void> {
    try {
      await this.#exchange(call)
      this.#calls.fail(call, endedError(this.#options.settings))
    } catch (error) {
      this.#calls.fail(call, toCoded(error, this.#options.settings))
    }
  }

  /** Sends what has no answer. */
  async #tell (message: Message, renews: boolean = true): Promise<void> {
    try {
      const { response, refusal } = await this.#deliver(message, this.#end.signal, renews)
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

  /**
   * What the server says to a message, which is sent once more where it has forgotten the session.
   * @param renews `false` for what opens another session itself
   */
  async #deliver (message: Message, signal: AbortSignal, renews: boolean): Promise<Delivered> {
    const session = message.method === 'initialize' ? undefined : this.#session
    const first = await this.#post(message, session, signal)
    if (!renews || session?.id === undefined || first.refusal === undefined || !isForgotten(first.refusal)) return first
    await this.#renew(session)
    const second = await this.#post(message, this.#session, signal)
    this.#tellNews()
    return second
  }

  async #post (message: Message, session: Session | undefined, signal: AbortSignal): Promise<Delivered> {
    const { http, settings } = this.#options
    const response = await post(http, this.#party.context, message, sessionHeaders(session), signal)
    if (!response.ok) return { response, refusal: await readRefusal(response, settings) }
    this.#meet()
    return { response, refusal: undefined }
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

  #tellNews (): void {
    for (const news of this.#news.splice(0)) void this.#party.tell(news)
  }

  async #exchange (call: Call): Promise<void> {
    const { settings } = this.#options
    const { response, refusal } = await this.#deliver(call.message, call.controller.signal, call.own === undefined)
    if (refusal !== undefined) return await this.#refused(call, refusal)
    if (call.message.method === 'initialize') this.#newId = sessionIdOf(response)
    await readAnswer(response, {
      settings,
      onmessage: message => this.#receive(message, call),
      follow: stream => this.#follow(call, stream),
      isOpen: () => this.#calls.isOpen(call),
    })
  }

  async #follow (call: Call, response: Response): Promise<void> {
    const linger = new Linger(call.controller)
    await followStream(response, {
      settings: this.#options.settings,
      signal: call.controller.signal,
      onevent: async (event) => {
        await this.#heard(event, call)
        if (!this.#calls.isOpen(call)) linger.begin()
      },
      isOver: () => !this.#calls.isOpen(call),
      resume: (lastEventId, signal) => this.#get(lastEventId, signal),
    }).finally(() => linger.end())
  }

  async #refused (call: Call, refusal: Refusal): Promise<void> {
    const { settings, onrefused } = this.#options
    const { message, status } = refusal
    // handed over already, with another message
    if (this.#end.signal.aborted) return
    // what is no JSON-RPC is not from a server of Streamable HTTP; that POST is not allowed, one cannot say
    if (!this.#met && (status === 405 || (message === undefined && NO_STREAM.has(status))) && onrefused()) {
      this.#handOver()
      return
    }
    if (message !== undefined) {
      this.#meet()
      await this.#answer(call, refusalAnswer(message, call.rawId))
      return
    }
    throw refusalError(refusal, settings)
  }

  #handOver (): void {
    const waiting = this.#conversation.outbox.take()
    const isWaiting = new Set(waiting)
    // several requests may be on their way: a server that does not know this transport has worked on none
    const sent = this.#calls.values().map(({ message }) => message).filter(message => !isWaiting.has(message))
    const messages = [...sent, ...waiting]
    this.#end.abort()
    this.#calls.stop()
    this.#options.onhandover(messages)
  }

  async #heard ({ data, event }: StreamEvent, call: Call | undefined): Promise<void> {
    if (data === '' || (event !== undefined && event !== 'message')) return
    for (const message of readMessages(Buffer.from(data))) await this.#receive(message, call)
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
    if (call.message.method === 'initialize' && !message.failed) this.#establish(message)
    await this.#calls.answer(call, message)
  }

  #establish (answer: Message): void {
    const revision = answer.result?.['protocolVersion']
    this.#session = { id: this.#newId, revision: typeof revision === 'string' && VISIBLE.test(revision) ? revision : LATEST_LEGACY_REVISION }
    this.#newId = undefined
    this.#options.onintroduced()
  }

  /** Opens another session, once for all who have lost the old one. @throws CodedError */
  async #renew (lost: Session): Promise<void> {
    // there may be another already, whose handshake has not ended
    if (this.#session !== lost) return await this.#renewing
    this.#renewing ??= this.#reopen().finally(() => { this.#renewing = undefined })
    await this.#renewing
  }

  async #reopen (): Promise<void> {
    const { memory, settings } = this.#options
    settings.log.info({ server: settings.name }, 'the server has forgotten the session: another is opened')
    this.#stream.stop()
    this.#listens = false
    this.#news = await reintroduce({ memory, settings, ask: make => this.#conversation.ask(make), tell: message => this.#tell(message, false) })
  }

  async #renewAlone (): Promise<void> {
    const session = this.#session
    if (session === undefined || this.#end.signal.aborted) return
    try {
      await this.#renew(session)
      this.#tellNews()
    } catch (err) {
      this.#log({ err }, 'no other session could be opened: the next message tries again')
    }
  }

  #get (lastEventId: string | undefined, signal: AbortSignal): Promise<Response> {
    const headers = { accept: 'text/event-stream', ...sessionHeaders(this.#session), ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) }
    return this.#options.http.send(this.#party.context, { method: 'GET', headers, signal })
  }

  #log (object: object, text: string): void {
    const { log, name } = this.#options.settings
    log.debug({ server: name, ...object }, text)
  }
}

function sessionHeaders (session: Session | undefined): Record<string, string> {
  if (session === undefined) return {}
  return { ...(session.id !== undefined && { [SESSION_ID]: session.id }), 'mcp-protocol-version': session.revision }
}

function sessionIdOf (response: Response): string | undefined {
  const id = response.headers.get(SESSION_ID)
  return id !== null && VISIBLE.test(id) ? id : undefined
}

/** A session that the server does not know: 404, or 400 from those that follow the samples of an SDK. */
function isForgotten ({ status, message }: Refusal): boolean {
  if (status !== 400) return status === 404
  const { code, message: text } = message?.error ?? {}
  return code === CONNECTION_CLOSED && typeof text === 'string' && /session/i.test(text)
}
