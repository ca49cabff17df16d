import { CONNECTION_CLOSED, type Message } from '@mcp-proxy/protocol'
import { readRefusal, type Refusal } from './stream-request.js'
import type { KnownSession, SessionHttp } from './session-http.js'
import type { RemoteSettings } from './options.js'

export interface DeliveryOptions {
  readonly http: SessionHttp
  readonly settings: RemoteSettings
  /** Opens another session; resolves with what the party is to be told then. @throws CodedError */
  readonly reopen: () => Promise<Message[]>
  readonly tell: (news: Message) => void | Promise<void>
  /** The server takes messages. */
  readonly ontaken: () => void
}

/** What the server says to a POST: its answer is still to be read, its refusal was. */
export interface Delivered {
  readonly response: Response
  readonly refusal: Refusal | undefined
}

/** Brings messages to the server, in another session where it has forgotten the one there was. */
export class Delivery {
  readonly #options: DeliveryOptions
  #renewing: Promise<void> | undefined
  /** What the party is told when the message has arrived for which the session was renewed. */
  #news: Message[] = []

  constructor (options: DeliveryOptions) {
    this.#options = options
  }

  /**
   * What the server says to a message, which is sent once more where it has forgotten the session.
   * @param renews `false` for what opens another session itself
   */
  async deliver (message: Message, signal: AbortSignal, renews: boolean): Promise<Delivered> {
    const session = message.method === 'initialize' ? undefined : this.#options.http.session
    const first = await this.#post(message, session, signal)
    if (!renews || session?.id === undefined || first.refusal === undefined || !isForgotten(first.refusal)) return first
    await this.#renew(session)
    const second = await this.#post(message, this.#options.http.session, signal)
    this.#tellNews()
    return second
  }

  /** The server has forgotten the session, and no message shows it. @throws CodedError */
  async renew (): Promise<void> {
    const { session } = this.#options.http
    if (session === undefined) return
    await this.#renew(session)
    this.#tellNews()
  }

  async #post (message: Message, session: KnownSession | undefined, signal: AbortSignal): Promise<Delivered> {
    const { http, settings, ontaken } = this.#options
    const response = await http.post(message, session, signal)
    if (!response.ok) return { response, refusal: await readRefusal(response, settings) }
    ontaken()
    return { response, refusal: undefined }
  }

  /** Opens another session, once for all who have lost the old one. @throws CodedError */
  async #renew (lost: KnownSession): Promise<void> {
    // there may be another already, whose handshake has not ended
    if (this.#options.http.session !== lost) return await this.#renewing
    this.#renewing ??= this.#reopen().finally(() => { this.#renewing = undefined })
    await this.#renewing
  }

  async #reopen (): Promise<void> {
    this.#news = await this.#options.reopen()
  }

  #tellNews (): void {
    for (const news of this.#news.splice(0)) void this.#options.tell(news)
  }
}

/** A session that the server does not know: 404, or 400 from those that follow the samples of an SDK. */
function isForgotten ({ status, message }: Refusal): boolean {
  if (status !== 400) return status === 404
  const { code, message: text } = message?.error ?? {}
  return code === CONNECTION_CLOSED && typeof text === 'string' && /session/i.test(text)
}
