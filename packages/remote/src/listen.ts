import { Message, SUBSCRIPTION_ID_KEY, isObject } from '@mcp-proxy/protocol'
import { readEvents, readMessages } from './answer.js'
import { Backoff } from './backoff.js'
import { endedError, isCoded } from './coded.js'
import { readAnswer, readRefusal, refusalAnswer, refusalError } from './stream-request.js'
import type { RemoteSettings } from './options.js'

export interface ListenOptions {
  readonly settings: RemoteSettings
  /** Aborted when the party has enough. */
  readonly signal: AbortSignal
  /** Sends the request. */
  readonly open: () => Promise<Response>
  readonly tell: (message: Message) => void | Promise<void>
  /** The server's answer, which ends it. */
  readonly end: (answer: Message) => void | Promise<void>
}

const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged'
const LISTS = ['tools', 'prompts', 'resources'] as const

/**
 * A `subscriptions/listen` (2026-07-28, "Subscriptions"), whose stream is opened again when it breaks. The party learns of
 * that what may have happened meanwhile: all that it listens to may have changed.
 */
export class Listen {
  readonly #request: Message
  readonly #options: ListenOptions
  /** What the server has said that it tells of; `undefined` until it has. */
  #honoured: Readonly<Record<string, unknown>> | undefined
  #over = false

  constructor (request: Message, options: ListenOptions) {
    this.#request = request
    this.#options = options
  }

  /** Settles when it has ended. @throws CodedError, when it has ended without an answer of the server */
  async run (): Promise<void> {
    const { settings, signal } = this.#options
    const backoff = new Backoff(settings.reconnect)
    let cause: unknown
    do {
      try {
        await this.#read(backoff)
      } catch (error) {
        // before it has begun, or for good
        if (this.#honoured === undefined && isCoded(error)) throw error
        cause = error
      }
      if (this.#over || signal.aborted) return
      if (this.#honoured === undefined) break
      settings.log.debug({ server: settings.name }, 'the stream of a subscription is lost')
    } while (await backoff.pause(signal))
    throw endedError(settings, cause)
  }

  async #read (backoff: Backoff): Promise<void> {
    const { open, settings } = this.#options
    const response = await open()
    if (!response.ok) {
      const refusal = await readRefusal(response, settings)
      // from a server that has taken it before, it means that it is away, whatever words it has for that
      const isAway = this.#honoured !== undefined && (refusal.status >= 500 || refusal.status === 429)
      if (refusal.message === undefined || isAway) throw refusalError(refusal, settings)
      await this.#end(refusalAnswer(refusal.message, this.#request.rawId as string))
      return
    }
    await readAnswer(response, { settings, onmessage: message => this.#heard(message), follow: stream => this.#follow(stream, backoff) })
  }

  async #follow (response: Response, backoff: Backoff): Promise<void> {
    const { settings } = this.#options
    backoff.opened()
    for await (const { data } of readEvents(response, settings, milliseconds => backoff.obey(milliseconds))) {
      for (const message of data === '' ? [] : readMessages(Buffer.from(data))) {
        backoff.reset()
        await this.#heard(message)
      }
      if (this.#over) return
    }
  }

  async #heard (message: Message): Promise<void> {
    if (message.kind === 'response') {
      if (message.rawId === this.#request.rawId) await this.#end(message)
      return
    }
    if (message.kind === 'request') return
    if (message.method !== ACKNOWLEDGED) return await this.#options.tell(message)
    const again = this.#honoured !== undefined
    const honoured = message.params?.['notifications']
    this.#honoured = isObject(honoured) ? honoured : {}
    if (!again) return await this.#options.tell(message)
    for (const change of this.#changes(this.#honoured)) await this.#options.tell(change)
  }

  async #end (answer: Message): Promise<void> {
    this.#over = true
    await this.#options.end(answer)
  }

  /** All that may have changed unseen. */
  #changes (honoured: Readonly<Record<string, unknown>>): Message[] {
    const uris = Array.isArray(honoured['resourceSubscriptions']) ? honoured['resourceSubscriptions'] as unknown[] : []
    return [
      ...LISTS.filter(list => honoured[`${list}ListChanged`] === true).map(list => Message.notification(`notifications/${list}/list_changed`)),
      ...uris.map(uri => Message.notification('notifications/resources/updated', { uri })),
    ].map(message => message.edit(['params', '_meta'], { [SUBSCRIPTION_ID_KEY]: this.#request.rawId }))
  }
}
