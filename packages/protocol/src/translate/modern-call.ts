import { mcpError, type CodedError } from '../errors.js'
import { idKey } from '../envelope.js'
import { METHOD_NOT_FOUND } from '../json-rpc.js'
import { CANCELLED_ID, Message } from '../message.js'
import { Asker } from './asker.js'
import { BorrowedServer, type Borrower } from './borrowed-server.js'
import { declaresCallback, introductionOf } from './client-capabilities.js'
import { capabilityFor, declares, missingCapabilities, type Capability } from './input-capabilities.js'
import { Questions, toInputRequired } from './input-requests.js'
import { KeptMessages } from './kept-messages.js'
import { digestOf } from './request-state.js'
import { offers, profileOf } from './server-profile.js'
import { toLegacy } from './to-legacy.js'
import { toModern } from './to-modern.js'
import { URL_ELICITATION, readUrlElicitations } from './url-elicitations.js'
import type { LegacyServer } from './legacy-source.js'
import type { ModernDesk, OpenRequest } from './modern-party.js'
import type { Parkable } from './parked-calls.js'
import type { SendOptions } from '../transport.js'

/** Requests that a client may be asked something for (2026-07-28, "Multi Round-Trip Requests", Supported Requests). */
const INTERACTIVE: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read'])

/** What is not about one call: it is for a subscription, or nothing in this revision. */
const ELSEWHERE = /^notifications\/(?:(?:.+\/)?list_changed|resources\/updated|elicitation\/complete|tasks\/.*)$/

/** One call, from its first request to its answer, however often its client has to come back in between. */
export class ModernCall implements OpenRequest, Parkable, Borrower {
  readonly principal: string | undefined
  readonly #desk: ModernDesk
  /** The first; its id and token are those of the call on its server. */
  readonly #request: Message
  readonly #method: string
  readonly #first: Asker
  readonly #borrowed: BorrowedServer
  /** Nobody while the call is parked. */
  #asker: Asker | undefined
  #server: LegacyServer | undefined
  /** What the server was told last. */
  #logLevel: string | undefined
  /** The request has been passed on. */
  #sent = false
  #questions: Questions | undefined
  #gathering: NodeJS.Timeout | undefined
  #parkedAs: string | undefined
  #kept: KeptMessages | undefined
  /** What came while the call was parked. */
  #answer: { readonly message: Message, readonly options: SendOptions | undefined } | undefined

  constructor (asker: Asker, request: Message) {
    this.principal = asker.party.context.principal
    this.#desk = asker.party.desk
    this.#request = request
    this.#method = request.method as string
    this.#first = this.#asker = asker
    this.#borrowed = new BorrowedServer(this)
  }

  /** @throws CodedError, when there is no server */
  open (): void {
    const { party, rawId, meta, capabilities, logLevel } = this.#first
    party.hold(rawId, this)
    const talkative = logLevel !== undefined || declaresCallback(capabilities)
    const need = { method: this.#method, introduction: introductionOf(meta), alone: talkative && INTERACTIVE.has(this.#method), stays: false }
    this.#borrowed.borrow(this.#desk.source, need, party.context)
  }

  /** Goes on for a retry: with the answers that it brings, or with what has come meanwhile. */
  resume (asker: Asker, retry: Message): void {
    const questions = this.#questions ?? new Questions()
    this.#parkedAs = undefined
    this.#asker = asker
    asker.party.hold(asker.rawId, this)
    for (const message of this.#kept?.take() ?? []) void asker.tell(message, this.#first.progressToken)
    if (this.#answer !== undefined) {
      void this.#deliver(asker, this.#answer.message, this.#answer.options)
      return
    }
    const missing = questions.capabilities.find(capability => !declares(asker.capabilities, capability))
    if (missing !== undefined) {
      this.fail(missingCapabilities([missing]))
      return
    }
    this.#setLogLevel(asker)
    for (const answer of questions.answer(retry)) this.#borrowed.tell(answer)
    // the server may have answered at once
    if (this.#asker !== asker) return
    if (questions.awaited) this.#park()
    else if (questions.size > 0) this.#gather()
    else if (!this.#sent) this.#settle()
  }

  get busy (): boolean { return this.#answer === undefined }

  cancel (): void {
    this.#asker = undefined
    this.abandon()
  }

  abandon (): void {
    clearTimeout(this.#gathering)
    this.#borrowed.giveBack()
  }

  stop (): void {
    this.fail(mcpError('MCP_ERR_STOPPED'))
  }

  meet (server: LegacyServer): void {
    this.#server = server
  }

  serve (): void {
    this.#setLogLevel(this.#first)
    // what a server asks before any call is how it is set up for its client: that comes first
    if (this.#questions === undefined) this.#send()
  }

  #send (): void {
    this.#sent = true
    this.#borrowed.tell(toLegacy(this.#request))
  }

  /** The server may have to look at the answers before it goes by them: a ping, and a moment, before the call. */
  #settle (): void {
    this.#borrowed.tell(Message.request(this.#ownId('ping'), 'ping', '{}'))
  }

  /** An id that the client has not chosen. */
  #ownId (name: string): string {
    const id = `"mcp-proxy-${name}"`
    return id === this.#first.rawId ? `"mcp-proxy-own-${name}"` : id
  }

  #setLogLevel ({ logLevel }: Asker): void {
    // the level of a server that others use too is not this client's to set
    if (logLevel === undefined || logLevel === this.#logLevel || this.#server?.alone !== true) return
    this.#logLevel = logLevel
    if (!offers(profileOf(this.#server.initializeAnswer), 'logging')) return
    this.#borrowed.tell(Message.request(this.#ownId('level'), 'logging/setLevel', JSON.stringify({ level: logLevel })))
  }

  receive (message: Message, options: SendOptions | undefined): void | Promise<void> {
    if (message.kind === 'response') return this.#answered(message, options)
    if (message.kind === 'notification') return this.#notified(message, options)
    this.#asked(message, message.method as string)
  }

  #answered (message: Message, options: SendOptions | undefined): void | Promise<void> {
    if (message.rawId !== this.#first.rawId) {
      // others are to what was sent besides
      if (message.rawId === this.#ownId('ping')) this.#gathering ??= setTimeout(() => this.#park(), this.#desk.gather).unref()
      return
    }
    const asker = this.#asker
    if (asker === undefined) {
      this.#answer = { message, options }
      this.abandon()
      return
    }
    const full = this.#deliver(asker, message, options)
    this.abandon()
    return full
  }

  #deliver (asker: Asker, message: Message, options: SendOptions | undefined): void | Promise<void> {
    const { party, rawId } = asker
    this.#asker = undefined
    const urls = message.failed && INTERACTIVE.has(this.#method) ? readUrlElicitations(message) : undefined
    if (urls !== undefined) {
      if (!declares(asker.capabilities, URL_ELICITATION)) party.refuse(rawId, missingCapabilities([URL_ELICITATION]))
      else void party.answer(rawId, toInputRequired(rawId, urls, this.#seal({ asked: Object.fromEntries(urls) })))
      return
    }
    const { initializeAnswer } = this.#server as LegacyServer
    return party.answer(rawId, toModern(message.rewrite(rawId), this.#method, profileOf(initializeAnswer)), options)
  }

  #notified (message: Message, options: SendOptions | undefined): void | Promise<void> {
    const method = message.method as string
    if (method === 'notifications/cancelled') {
      this.#questions?.withdraw(idKey(message.raw(CANCELLED_ID) ?? ''))
      return
    }
    if (ELSEWHERE.test(method)) return
    if (!this.#isOurs(method, options)) return
    if (this.#asker !== undefined) return this.#asker.tell(message, this.#first.progressToken)
    this.#kept ??= new KeptMessages()
    this.#kept.add(message)
  }

  #isOurs (method: string, options: SendOptions | undefined): boolean {
    if (method === 'notifications/progress') return this.#first.progressToken !== undefined
    // where others use the server too, what does not say that it is about this call is not
    if (this.#server?.alone === true) return true
    return method === 'notifications/message' && options?.relatedRequestId === this.#first.rawId
  }

  #asked (request: Message, method: string): void {
    const serverId = request.rawId as string
    if (method === 'ping') {
      this.#borrowed.tell(Message.result(serverId, '{}'))
      return
    }
    const capability = INTERACTIVE.has(this.#method) ? this.#take(request) : undefined
    if (capability === undefined) this.#borrowed.tell(Message.error(serverId, { code: METHOD_NOT_FOUND, message: `Method not found: ${method}` }))
    // what is asked while the call is parked is for the retry
    else if (this.#asker !== undefined && declares(this.#asker.capabilities, capability)) this.#gather()
    else if (this.#asker !== undefined) this.fail(missingCapabilities([capability]))
  }

  /** The capability that a question takes, when it is to be answered, or to be refused because the client lacks it. */
  #take (request: Message): Capability | undefined {
    if (this.#server?.alone === true) return (this.#questions ??= new Questions()).add(request)
    // a server that others use too cannot wait for this client; but it need not be told so when the client could not answer
    const capability = capabilityFor(request.method as string, request.params)
    return capability === undefined || this.#asker === undefined || declares(this.#asker.capabilities, capability) ? undefined : capability
  }

  /** A server that asks several things mostly asks them at once: they go out together. */
  #gather (): void {
    this.#gathering ??= setTimeout(() => this.#park(), this.#desk.gather).unref()
  }

  /** Sends the client away with what it is asked; the call stays open on its server. */
  #park (): void {
    this.#gathering = undefined
    if (this.#asker === undefined) return
    if (this.#questions === undefined || this.#questions.size === 0) {
      // withdrawn meanwhile, or answered before the call
      if (!this.#sent) this.#send()
      return
    }
    const { party, rawId } = this.#asker
    this.#asker = undefined
    this.#parkedAs = this.#desk.parked.add(this)
    void party.answer(rawId, toInputRequired(rawId, this.#questions.ask(), this.#seal({ call: this.#parkedAs })))
  }

  #seal (round: { call: string } | { asked: Record<string, string> }): string {
    const { parkTimeout, seal } = this.#desk
    return seal.seal({ principal: this.principal, method: this.#method, digest: digestOf(this.#request), expires: Date.now() + parkTimeout, ...round })
  }

  fail (error: CodedError = mcpError('MCP_ERR_STOPPED')): void {
    const asker = this.#asker
    this.#asker = undefined
    this.abandon()
    // a retry is told that the call is over
    if (this.#parkedAs !== undefined) this.#desk.parked.take(this.#parkedAs)
    asker?.party.refuse(asker.rawId, error)
  }
}
