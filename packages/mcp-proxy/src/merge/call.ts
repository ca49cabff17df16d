import { Message, mcpError, toRpcError, type SendOptions } from '@mcp-proxy/protocol'
import type { Upstream } from './upstream.js'

/** Called once with the answer. */
export type Finish = (answer: Message, options?: SendOptions) => void | Promise<void>

/** A request of the client, on its way to one server or to several. It keeps the client's id on all of them. */
export interface Call {
  readonly start: () => void
  readonly answered: (server: Upstream, answer: Message, options: SendOptions | undefined) => void | Promise<void>
  readonly lost: (server: Upstream) => void
  /** The client has cancelled it, or has gone. `false` when it goes on nevertheless. */
  readonly cancel: (notification: Message) => boolean
}

export interface TriedCallOptions {
  readonly id: string
  /** Servers in the order in which they are asked; the first answer that is no miss is the client's. */
  readonly candidates: readonly Upstream[]
  readonly requestFor: (server: Upstream) => Message
  readonly isMiss: (answer: Message) => boolean
  /** A server has answered with something else than a miss. */
  readonly onhit?: ((server: Upstream, answer: Message) => void) | undefined
  readonly finish: Finish
}

/** A request to the one server that it is for, which has to be found out where several may be it. */
export class TriedCall implements Call {
  readonly #options: TriedCallOptions
  #next = 0
  #current: Upstream | undefined
  /** The first miss: what the client is told when nobody knows. */
  #miss: { readonly answer: Message, readonly options: SendOptions | undefined } | undefined

  constructor (options: TriedCallOptions) {
    this.#options = options
  }

  start (): void {
    const { candidates, requestFor, finish, id } = this.#options
    const server = this.#current = candidates[this.#next++]
    if (server !== undefined && !server.gone) server.tell(requestFor(server))
    else if (server !== undefined) this.start()
    else if (this.#miss === undefined) void finish(Message.error(id, toRpcError(mcpError('MCP_ERR_PARAMS', 'no server here has it'))))
    else void finish(this.#miss.answer, this.#miss.options)
  }

  answered (server: Upstream, answer: Message, options: SendOptions | undefined): void | Promise<void> {
    if (server !== this.#current) return
    const { candidates, isMiss, onhit, finish } = this.#options
    if (candidates.length > 1 && answer.failed && isMiss(answer)) {
      this.#miss ??= { answer, options }
      this.start()
      return
    }
    onhit?.(server, answer)
    return finish(answer, options)
  }

  lost (server: Upstream): void {
    if (server !== this.#current) return
    const error = mcpError('MCP_ERR_CHILD_EXITED', server.name, 'it has closed the connection')
    // it may have done what it was asked: nobody else is asked
    void this.#options.finish(Message.error(this.#options.id, toRpcError(error)), { local: true, status: 502 })
  }

  cancel (notification: Message): boolean {
    this.#current?.tell(notification)
    this.#current = undefined
    return true
  }
}

export interface GatheredCallOptions {
  readonly id: string
  readonly requests: ReadonlyMap<Upstream, Message>
  /** Milliseconds that the answers of the others wait for the last ones. */
  readonly patience: number
  /** It may be cancelled, which an `initialize` must not. */
  readonly cancels: boolean
  /** One answer of those that have come, by server in the order of the requests. */
  readonly combine: (answers: ReadonlyMap<Upstream, Message>) => Message
  readonly finish: Finish
}

/** A request that all servers are asked at once. */
export class GatheredCall implements Call {
  readonly #options: GatheredCallOptions
  readonly #waiting: Set<Upstream>
  readonly #answers = new Map<Upstream, Message>()
  #timer: NodeJS.Timeout | undefined

  constructor (options: GatheredCallOptions) {
    this.#options = options
    this.#waiting = new Set(options.requests.keys())
  }

  start (): void {
    this.#timer = setTimeout(() => this.#stopWaiting(), this.#options.patience).unref()
    for (const [server, request] of this.#options.requests) {
      if (server.gone) this.#waiting.delete(server)
      else server.tell(request)
    }
    void this.#look()
  }

  answered (server: Upstream, answer: Message): void | Promise<void> {
    if (!this.#waiting.delete(server)) return
    this.#answers.set(server, answer)
    return this.#look()
  }

  lost (server: Upstream): void {
    if (this.#waiting.delete(server)) void this.#look()
  }

  cancel (notification: Message): boolean {
    if (!this.#options.cancels) return false
    clearTimeout(this.#timer)
    for (const server of this.#waiting) server.tell(notification)
    this.#waiting.clear()
    this.#timer = undefined
    return true
  }

  #stopWaiting (): void {
    if (this.#options.cancels) {
      const notification = Message.notification('notifications/cancelled', { requestId: JSON.parse(this.#options.id) as unknown, reason: 'the others have answered' })
      for (const server of this.#waiting) server.tell(notification)
    }
    this.#waiting.clear()
    void this.#look()
  }

  #look (): void | Promise<void> {
    if (this.#waiting.size > 0 || this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    const { requests, combine, finish } = this.#options
    // in the order of the servers, whoever was faster
    const answers = new Map<Upstream, Message>()
    for (const server of requests.keys()) {
      const answer = this.#answers.get(server)
      if (answer !== undefined) answers.set(server, answer)
    }
    return finish(combine(answers))
  }
}

/** The error that stands for the answers of all servers when none has come. */
export function noAnswer (id: string, patience: number): Message {
  return Message.error(id, toRpcError(mcpError('MCP_ERR_REQUEST_TIMEOUT', patience)))
}
