import { LATEST_LEGACY_REVISION, type ConnectContext, type Message } from '@mcp-proxy/protocol'
import { discard, type Http } from './http.js'
import { LINGER } from './linger.js'
import { post } from './stream-request.js'

/** A session as the server knows it. */
export interface KnownSession {
  /** `undefined` where the server keeps none. */
  readonly id: string | undefined
  readonly revision: string
}

const SESSION_ID = 'mcp-session-id'
const VISIBLE = /^[\x21-\x7e]+$/

/** The requests of a session: each names it (2025-03-26, "Session Management"), and its revision (2025-06-18). */
export class SessionHttp {
  readonly #http: Http
  readonly #context: ConnectContext
  #session: KnownSession | undefined
  /** The id that the answer to `initialize` came with. */
  #newId: string | undefined

  constructor (http: Http, context: ConnectContext) {
    this.#http = http
    this.#context = context
  }

  /** `undefined` until the server has shaken hands. */
  get session (): KnownSession | undefined { return this.#session }

  /** @param session `undefined` for what opens one */
  post (message: Message, session: KnownSession | undefined, signal: AbortSignal): Promise<Response> {
    return post(this.#http, this.#context, message, sessionHeaders(session), signal)
  }

  /** A stream of the server's own, or the rest of one after an event. */
  get (lastEventId: string | undefined, signal: AbortSignal): Promise<Response> {
    const headers = { accept: 'text/event-stream', ...sessionHeaders(this.#session), ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) }
    return this.#http.send(this.#context, { method: 'GET', headers, signal })
  }

  /** Ends the session, where there is one to end. */
  async end (): Promise<void> {
    const session = this.#session
    if (session?.id === undefined) return
    await discard(await this.#http.send(this.#context, { method: 'DELETE', headers: sessionHeaders(session), signal: AbortSignal.timeout(LINGER) }))
  }

  /** The answer to `initialize` begins. */
  opens (response: Response): void {
    const id = response.headers.get(SESSION_ID)
    this.#newId = id !== null && VISIBLE.test(id) ? id : undefined
  }

  /** The server has shaken hands. */
  establish (answer: Message): void {
    const revision = answer.result?.['protocolVersion']
    this.#session = { id: this.#newId, revision: typeof revision === 'string' && VISIBLE.test(revision) ? revision : LATEST_LEGACY_REVISION }
    this.#newId = undefined
  }
}

function sessionHeaders (session: KnownSession | undefined): Record<string, string> {
  if (session === undefined) return {}
  return { ...(session.id !== undefined && { [SESSION_ID]: session.id }), 'mcp-protocol-version': session.revision }
}
