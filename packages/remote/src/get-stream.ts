import { Backoff } from './backoff.js'
import { mediaType, readEvents, type StreamEvent } from './answer.js'
import { discard } from './http.js'
import type { RemoteSettings } from './options.js'

/** Another stream may still be open for the server, or there are too many requests. */
const RETRIED: ReadonlySet<number> = new Set([409, 429])

export interface GetStreamOptions {
  readonly settings: RemoteSettings
  /** Asks for the stream, after an event where there was one. */
  readonly open: (lastEventId: string | undefined, signal: AbortSignal) => Promise<Response>
  readonly onevent: (event: StreamEvent) => void | Promise<void>
  /** The server does not know the session any more. */
  readonly onlost: () => void
}

/** The stream on which a server says what is about no request (2025-03-26, "Listening for Messages from the Server"). Lost, it is opened again. */
export class GetStream {
  readonly #options: GetStreamOptions
  #end: AbortController | undefined
  /** The server has none. */
  #absent = false

  constructor (options: GetStreamOptions) {
    this.#options = options
  }

  /** Opens it, unless it is open or the server has none. */
  ensure (): void {
    if (this.#end !== undefined || this.#absent) return
    const end = new AbortController()
    this.#end = end
    void this.#run(end.signal).finally(() => { if (this.#end === end) this.#end = undefined })
  }

  /** Ends it; {@link ensure} opens another. */
  stop (): void {
    this.#end?.abort()
    this.#end = undefined
  }

  async #run (signal: AbortSignal): Promise<void> {
    const { settings, open, onevent, onlost } = this.#options
    const { log, name, reconnect } = settings
    const backoff = new Backoff(reconnect)
    let lastEventId: string | undefined
    let wasOpen = false
    do {
      try {
        const response = await open(lastEventId, signal)
        if (!response.ok || mediaType(response) !== 'text/event-stream') {
          await discard(response)
          // from a session that has had its stream it means that the session is gone
          if (response.status === 404 && wasOpen) return onlost()
          // an event that is not kept any more: what comes from now on is worth having
          if (response.status === 400 && lastEventId !== undefined) lastEventId = undefined
          else if (!RETRIED.has(response.status) && response.status < 500) {
            this.#absent = !wasOpen
            log.debug({ server: name, status: response.status }, 'the server has no stream of its own')
            return
          }
        } else {
          wasOpen = true
          backoff.opened()
          for await (const event of readEvents(response, settings, milliseconds => backoff.obey(milliseconds))) {
            backoff.reset()
            lastEventId = event.id ?? lastEventId
            await onevent(event)
          }
        }
      } catch (err) {
        if (!signal.aborted) log.debug({ err, server: name }, 'the stream is lost')
      }
    } while (await backoff.pause(signal))
    if (!signal.aborted) log.warn({ server: name, attempts: reconnect.maxRetries }, 'the stream cannot be opened again: what the server says by itself is not heard until it answers something')
  }
}
