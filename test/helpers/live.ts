import { once } from 'node:events'
import { request, type Agent, type IncomingMessage } from 'node:http'
import { JSON_AND_STREAM, events, type messages } from './http.js'
import type { Teardown } from './app.js'

export interface LiveOptions {
  method?: string
  headers?: Record<string, string | string[]>
  body?: object | string
  agent?: Agent
}

/** A response that is read while it comes. */
export class Live {
  readonly response: IncomingMessage
  /** How it ended: `'whole'`, or `'cut'` when the connection broke. */
  readonly ended: Promise<'whole' | 'cut'>
  text = ''
  readonly #waiting = new Set<() => void>()

  constructor (response: IncomingMessage) {
    this.response = response
    response.setEncoding('utf8').on('data', (chunk: string) => {
      this.text += chunk
      for (const look of [...this.#waiting]) look()
    }).on('error', () => {})
    this.ended = new Promise(resolve => response.once('close', () => resolve(response.complete ? 'whole' : 'cut')))
  }

  get status (): number { return this.response.statusCode ?? 0 }
  get type (): string { return this.response.headers['content-type'] ?? '' }
  /** The events that have come whole. */
  get events (): ReturnType<typeof events> { return events(this.#whole) }
  /** The messages in them. */
  get messages (): ReturnType<typeof messages> { return this.events.filter(({ data }) => data.startsWith('{')).map(({ data }) => JSON.parse(data) as Record<string, unknown>) }
  /** What `Party.say` has said. */
  get said (): unknown[] { return this.messages.filter(({ method }) => method === 'notifications/message').map(({ params }) => (params as { data: unknown }).data) }
  /** The id of the last event. */
  get lastId (): string { return this.events.findLast(({ id }) => id !== undefined)?.id ?? '' }

  /** Waits for a text, or for what it is part of. */
  async until (holds: string | (() => boolean)): Promise<void> {
    const met = typeof holds === 'string' ? () => this.text.includes(holds) : holds
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!met()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** Breaks the connection. */
  leave (): void {
    this.response.destroy()
  }

  get #whole (): string {
    return this.text.slice(0, this.text.lastIndexOf('\n\n') + 2)
  }
}

/** Sends a request over a socket and resolves with the response once its head has come. */
export async function live (t: Teardown, url: string, { method = 'GET', headers = {}, body, agent }: LiveOptions = {}): Promise<Live> {
  const outgoing = request(url, {
    method,
    ...(agent === undefined ? { agent: false } : { agent }),
    headers: body === undefined ? { accept: 'text/event-stream', ...headers } : { accept: JSON_AND_STREAM, 'content-type': 'application/json', ...headers },
  })
  t.teardown(() => outgoing.destroy())
  outgoing.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body))
  const [response] = await once(outgoing, 'response') as [IncomingMessage]
  outgoing.on('error', () => {})
  return new Live(response)
}
