import { CANCELLED_ID, CONNECTION_CLOSED, LATEST_LEGACY_REVISION, Message, idKey, mcpError, type CodedError } from '@mcp-proxy/protocol'
import { mediaType, readBody, readMessages, type StreamEvent } from './answer.js'
import { isCoded } from './coded.js'
import { Calls, cancellation, type Call } from './calls.js'
import { GetStream } from './get-stream.js'
import { discard, type Http } from './http.js'
import { Outbox } from './outbox.js'
import { changes, type SessionMemory } from './session-memory.js'
import { followStream } from './followed-stream.js'
import { post, readRefusal, refusalError, type Refusal } from './stream-request.js'
import type { Party } from './party.js'
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
/** Milliseconds that a server has to end a stream whose answer has come, or a session. */
const LINGER = 2_000
const SESSION_ID = 'mcp-session-id'
const VISIBLE = /^[\x21-\x7e]+$/

/** A session of one party over Streamable HTTP (2025-03-26 to 2025-11-25). */
export class StreamSession {
  readonly #options: StreamSessionOptions
  readonly #party: Party
  readonly #calls: Calls
  readonly #outbox: Outbox
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
    this.#calls = new Calls({ party: options.party, settings: options.settings, ontimeout: call => this.#cancel(call) })
    this.#outbox = new Outbox({
      send: message => message.kind === 'request' ? this.#call(message) : this.#tell(message),
      blocks: ({ kind, method }) => kind !== 'request' || method === 'initialize',
      ondrop: message => this.#drop(message),
    })
    this.#stream = new GetStream({
      settings: options.settings,
      open: (lastEventId, signal) => this.#get(lastEventId, signal),
      onevent: event => this.#heard(event, undefined),
      onlost: () => { void this.#renewAlone() },
    })
  }

  receive (message: Message): void {
    if (message.kind === 'request' && this.#calls.open(message) === undefined) return
    this.#options.memory.note(message)
    if (message.method === 'notifications/cancelled') this.#withdraw(message)
    this.#outbox.add(message)
  }

  async close (): Promise<void> {
    if (this.#end.signal.aborted) return
    this.#end.abort()
    this.#party.leave()
    this.#outbox.take()
    this.#calls.stop()
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
  async #call (message: Message): Promise<void> {
    const call = this.#calls.get(message.rawId as string)
    // given up before it was sent
    if (call === undefined || call.message !== message) return
    await this.#run(call)
  }

  async #run (call: Call): Promise<void> {
    try {
      await this.#exchange(call)
      this.#calls.fail(call, this.#ended())
    } catch (error) {
      this.#calls.fail(call, isCoded(error) ? error : this.#ended(error))
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

  /** The party does not wait any more; the server learns it from the notification. */
  #withdraw (notification: Message): void {
    const call = this.#calls.get(idKey(notification.raw(CANCELLED_ID) ?? '') ?? '')
    // a handshake must not be cancelled (2025-11-25, "Cancellation")
    if (call === undefined || call.own !== undefined || call.message.method === 'initialize') return
    this.#calls.take(call.rawId)
    this.#cancelled.set(notification, call)
  }

  /** It has taken too long. */
  #cancel (call: Call): void {
    const notification = cancellation(call)
    this.#cancelled.set(notification, call)
    if (call.message.method === 'initialize') call.controller.abort()
    else this.#outbox.add(notification)
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
    switch (mediaType(response)) {
      case 'application/json':
        for (const message of readMessages(await readBody(response, settings))) await this.#receive(message, call)
        if (this.#calls.get(call.rawId) === call) throw mcpError('MCP_ERR_REMOTE_PROTOCOL', settings.name, 'its JSON is not the answer')
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
    await followStream(response, {
      settings: this.#options.settings,
      signal: call.controller.signal,
      onevent: async (event) => {
        await this.#heard(event, call)
        if (this.#calls.get(call.rawId) === call) return
        // the server ends the stream, which leaves the connection to others; one that does not is not waited for
        linger ??= setTimeout(() => call.controller.abort(), LINGER).unref()
      },
      isOver: () => this.#calls.get(call.rawId) !== call,
      resume: (lastEventId, signal) => this.#get(lastEventId, signal),
    }).finally(() => clearTimeout(linger))
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
      // its id may be missing: the server may not have read that far
      await this.#answer(call, readMessages(message.edit([], { id: call.rawId }).bytes)[0] ?? message)
      return
    }
    throw refusalError(refusal, settings)
  }

  #handOver (): void {
    const waiting = this.#outbox.take()
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
    this.#calls.take(call.rawId)
    if (call.own === undefined) await this.#party.tell(message)
    else call.own.resolve(message)
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
    const { initialize } = memory
    if (initialize === undefined) throw this.#ended()
    settings.log.info({ server: settings.name }, 'the server has forgotten the session: another is opened')
    this.#stream.stop()
    this.#listens = false
    const answer = await this.#ask(rawId => initialize.rewrite(rawId))
    if (answer.failed) throw mcpError('MCP_ERR_REMOTE_PROTOCOL', settings.name, 'it refuses another session')
    await this.#tell(Message.notification('notifications/initialized'), false)
    for (const request of memory.repeat()) await this.#ask(rawId => request.rewrite(rawId)).catch(() => {})
    this.#news = changes(answer)
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

  /** Asks the server something that the party has not asked. @throws CodedError */
  #ask (make: (rawId: string) => Message): Promise<Message> {
    return new Promise((resolve, reject) => { void this.#run(this.#calls.openOwn(make, { resolve, reject })) })
  }

  #get (lastEventId: string | undefined, signal: AbortSignal): Promise<Response> {
    const headers = { accept: 'text/event-stream', ...sessionHeaders(this.#session), ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) }
    return this.#options.http.send(this.#party.context, { method: 'GET', headers, signal })
  }

  #drop (message: Message): void {
    const call = message.kind === 'request' ? this.#calls.get(message.rawId as string) : undefined
    if (call !== undefined) this.#calls.fail(call, mcpError('MCP_ERR_CHILD_BUSY', this.#options.settings.name))
    else this.#options.settings.log.warn({ server: this.#options.settings.name, method: message.method }, 'dropped a message: too many wait')
  }

  #ended (cause?: unknown): CodedError {
    return mcpError('MCP_ERR_REMOTE_ENDED', this.#options.settings.name, { cause })
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
