import { toRpcError, mcpError, type CodedError } from '../errors.js'
import { CANCELLED_ID, Message } from '../message.js'
import { isObject } from '../object.js'
import { STRANGER, introductionOf, stampsOf } from './stamp.js'
import type { Members } from '../members.js'
import type { SendOptions, Transport } from '../transport.js'

/** Characters of a client's introduction, which is repeated in each of its requests. */
export const MAX_INTRODUCTION = 262_144

/** The client of one session: what it has said of itself, and what it is asked. */
export class LegacyParty {
  readonly #transport: Transport
  readonly #asked = new Map<string, (answer: Message) => void>()
  #introduction = STRANGER
  #logLevel: string | undefined
  #stamps: Members = stampsOf(STRANGER, undefined)
  #lastId = 0
  /** What it can be asked. */
  declared: Readonly<Record<string, unknown>> = {}

  constructor (transport: Transport) {
    this.#transport = transport
  }

  /** What each of its requests carries to the server. */
  get stamps (): Members { return this.#stamps }

  /** @throws MCP_ERR_PARAMS */
  introduce (initialize: Message): void {
    const introduction = introductionOf(initialize)
    const size = introduction.capabilities.length + (introduction.clientInfo ?? '').length
    if (size > MAX_INTRODUCTION) throw mcpError('MCP_ERR_PARAMS', `"capabilities" and "clientInfo" have ${size} characters, more than ${MAX_INTRODUCTION}`)
    const capabilities = initialize.params?.['capabilities']
    this.declared = isObject(capabilities) ? capabilities : {}
    this.#introduction = introduction
    this.#stamps = stampsOf(introduction, this.#logLevel)
  }

  setLogLevel (level: string): void {
    this.#logLevel = level
    this.#stamps = stampsOf(this.#introduction, level)
  }

  tell (message: Message, options?: SendOptions): void | Promise<void> {
    return this.#transport.send(message, options)
  }

  /**
   * Answers a request with an error of the proxy's own. Over HTTP with status 200, as a server's own would be: 4xx means
   * something else to a client in a session, 404 above all.
   */
  refuse (rawId: string, error: CodedError): void {
    const status = (error.statusCode ?? 0) >= 500 ? error.statusCode : undefined
    void this.tell(Message.error(rawId, toRpcError(error)), { local: true, status, retryAfter: error.retryAfter })
  }

  /** The id of a question that will be asked, as JSON text: known before the answer can come. */
  expect (answered: (answer: Message) => void): string {
    const id = String(++this.#lastId)
    this.#asked.set(id, answered)
    return id
  }

  /**
   * Asks the client something for one of its calls.
   * @param id from {@link expect}
   * @param params JSON text
   */
  ask (id: string, method: string, params: string, callId: string): void {
    void this.tell(Message.request(id, method, params), { relatedRequestId: callId })
  }

  /** A question is not to be answered any more. */
  withdraw (id: string, callId: string, reason: string): void {
    if (!this.#asked.delete(id)) return
    const cancelled = Message.notification('notifications/cancelled', { requestId: 0, reason })
    void this.tell(cancelled.rewrite(undefined, [[CANCELLED_ID, id]]), { relatedRequestId: callId })
  }

  /** Takes an answer to who has asked; `false` when nobody has. */
  settle (answer: Message): boolean {
    const answered = this.#asked.get(answer.rawId ?? '')
    if (answered === undefined) return false
    this.#asked.delete(answer.rawId as string)
    answered(answer)
    return true
  }
}
