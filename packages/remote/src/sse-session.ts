import { mcpError, type CodedError, type Message } from '@mcp-proxy/protocol'
import { mediaType, messagesOf, readEvents } from './answer.js'
import { Backoff } from './backoff.js'
import { endedError, toCoded } from './coded.js'
import { Conversation } from './conversation.js'
import { discard, type Http } from './http.js'
import { messageEndpoint } from './message-endpoint.js'
import { reintroduce } from './reintroduction.js'
import { post, readRefusal, refusalAnswer, refusalError } from './stream-request.js'
import type { Call, Calls } from './calls.js'
import type { Outbox } from './outbox.js'
import type { Party } from './party.js'
import type { RemoteSettings } from './options.js'
import type { SessionMemory } from './session-memory.js'

export interface SseSessionOptions {
  readonly http: Http
  readonly party: Party
  readonly settings: RemoteSettings
  readonly memory: SessionMemory
  /** The server has said where it takes messages: it speaks HTTP+SSE. */
  readonly onsse: () => void
  /** There never was a stream; whoever waited was told so. */
  readonly onabsent: () => void
}

/** A session of one party over HTTP+SSE (2024-11-05): one stream brings all that the server says. */
export class SseSession {
  readonly #options: SseSessionOptions
  readonly #party: Party
  readonly #conversation: Conversation
  readonly #calls: Calls
  readonly #outbox: Outbox
  readonly #end = new AbortController()
  #stream: AbortController | undefined
  /** Where messages go, while the stream is open. */
  #endpoint: URL | undefined
  /** The party has shaken hands on an earlier stream. */
  #introduced = false
  /** What the open stream is to answer. */
  readonly #sent = new Set<Call>()
  /** Messages that were sent again on another stream. */
  readonly #repeated = new WeakSet<Message>()

  constructor (options: SseSessionOptions) {
    this.#options = options
    this.#party = options.party
    this.#conversation = new Conversation({
      ...options,
      send: (message, call) => this.#send(message, call),
      onwithdrawn: (call) => { this.#sent.delete(call) },
    })
    this.#calls = this.#conversation.calls
    this.#outbox = this.#conversation.outbox
    this.#outbox.hold()
  }

  receive (message: Message): void {
    if (this.#conversation.receive(message)) this.#ensure()
  }

  async close (): Promise<void> {
    if (this.#end.signal.aborted) return
    this.#end.abort()
    this.#party.leave()
    this.#conversation.stop()
    this.#stream?.abort()
  }

  #ensure (): void {
    if (this.#stream !== undefined || this.#end.signal.aborted) return
    this.#stream = new AbortController()
    void this.#run().finally(() => {
      this.#stream = undefined
      // somebody may have answered an error at once
      if (this.#outbox.size > 0) this.#ensure()
    })
  }

  async #run (): Promise<void> {
    const { settings, onabsent } = this.#options
    const backoff = new Backoff(settings.reconnect)
    do {
      const stream = new AbortController()
      this.#stream = stream
      const error = await this.#read(AbortSignal.any([stream.signal, this.#end.signal]), backoff).then(() => endedError(settings), (cause: unknown) => toCoded(cause, settings))
      this.#endpoint = undefined
      this.#outbox.hold()
      if (this.#end.signal.aborted) return
      settings.log.debug({ err: error, server: settings.name }, 'the stream is lost')
      this.#failSent(error)
      if (!this.#introduced) {
        onabsent()
        this.#failAll(error)
        return
      }
      // what waits for a stream that cannot be had is told so, instead of waiting for the next attempt
      if (error.code !== 'MCP_ERR_REMOTE_ENDED') this.#failAll(error)
    } while (await backoff.pause(this.#end.signal))
    if (this.#end.signal.aborted) return
    settings.log.warn({ server: settings.name }, 'the stream cannot be opened again: the next message tries it')
    this.#failAll(endedError(settings))
  }

  async #read (signal: AbortSignal, backoff: Backoff): Promise<void> {
    const { http, settings } = this.#options
    const response = await http.send(this.#party.context, { method: 'GET', headers: { accept: 'text/event-stream' }, signal })
    if (!response.ok) throw refusalError(await readRefusal(response, settings), settings)
    if (mediaType(response) !== 'text/event-stream') {
      await discard(response)
      throw mcpError('MCP_ERR_REMOTE_PROTOCOL', settings.name, 'neither its POST nor its GET is one of MCP')
    }
    backoff.opened()
    for await (const event of readEvents(response, settings, milliseconds => backoff.obey(milliseconds))) {
      if (event.event === 'endpoint') {
        if (this.#endpoint === undefined) this.#open(messageEndpoint(event.data, response.url, settings))
        continue
      }
      for (const message of messagesOf(event)) {
        backoff.reset()
        await this.#heard(message)
      }
    }
  }

  /** Messages can be sent. */
  #open (endpoint: URL): void {
    this.#endpoint = endpoint
    this.#options.onsse()
    if (!this.#introduced) this.#outbox.release()
    else void this.#reintroduce(endpoint)
  }

  /** Says what the server knew before the stream was lost. */
  async #reintroduce (endpoint: URL): Promise<void> {
    const { memory, settings } = this.#options
    try {
      const news = await reintroduce({ memory, settings, ask: make => this.#conversation.ask(make), tell: message => this.#send(message, undefined) })
      // lost again meanwhile
      if (this.#endpoint !== endpoint) return
      this.#outbox.release()
      for (const change of news) void this.#party.tell(change)
    } catch (err) {
      settings.log.debug({ err, server: settings.name }, 'the handshake could not be repeated')
      if (this.#endpoint === endpoint) this.#stream?.abort()
    }
  }

  /** Sends one; an error reaches whoever waits for its answer. */
  async #send (message: Message, call: Call | undefined): Promise<void> {
    if (call !== undefined) this.#sent.add(call)
    try {
      await this.#post(message, call)
    } catch (error) {
      if (call !== undefined) this.#calls.fail(call, toCoded(error, this.#options.settings))
      else if (!this.#end.signal.aborted) this.#options.settings.log.debug({ err: error, server: this.#options.settings.name, method: message.method }, 'a message has not reached the server')
    }
  }

  async #post (message: Message, call: Call | undefined): Promise<void> {
    const { http, party, settings } = this.#options
    const url = this.#endpoint
    if (url === undefined) throw endedError(settings)
    const response = await post(http, party.context, message, {}, call?.controller.signal ?? this.#end.signal, url)
    if (response.ok) {
      await discard(response)
      return
    }
    const refusal = await readRefusal(response, settings)
    if (refusal.status === 404 && this.#introduced && call?.own === undefined && !this.#repeated.has(message)) {
      // forgotten, which the stream need not show: on another the message is sent once more
      this.#repeated.add(message)
      if (call !== undefined) this.#sent.delete(call)
      this.#outbox.hold()
      this.#outbox.unshift(message)
      if (this.#endpoint === url) this.#stream?.abort()
      return
    }
    if (call === undefined || refusal.message === undefined) throw refusalError(refusal, settings)
    await this.#answer(call, refusalAnswer(refusal.message, call.rawId))
  }

  async #heard (message: Message): Promise<void> {
    if (message.kind !== 'response') return await this.#party.tell(message)
    const call = this.#calls.get(message.rawId ?? '')
    if (call === undefined) this.#options.settings.log.debug({ server: this.#options.settings.name }, 'dropped an answer to no open call')
    else await this.#answer(call, message)
  }

  async #answer (call: Call, message: Message): Promise<void> {
    this.#sent.delete(call)
    if (call.message.method === 'initialize' && !message.failed) this.#introduced = true
    await this.#calls.answer(call, message)
  }

  /** Those that the lost stream was to answer. */
  #failSent (error: CodedError): void {
    for (const call of this.#sent) {
      this.#calls.fail(call, error)
      call.controller.abort()
    }
    this.#sent.clear()
  }

  #failAll (error: CodedError): void {
    this.#outbox.take()
    for (const call of this.#calls.values()) this.#calls.fail(call, error)
  }
}
