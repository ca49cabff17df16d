import { Message, type CodedError } from '@mcp-proxy/protocol'

/** Ids of the mux's own requests; those of clients are numbers. */
const PREFIX = 'mcp-proxy:'

/** What the mux itself asks a server: the handshake, and what it repeats to a child that replaces another. */
export class OwnCalls {
  readonly #send: (message: Message) => void
  readonly #open = new Map<string, { resolve: (answer: Message) => void, reject: (error: Error) => void }>()
  #next = 1

  constructor (send: (message: Message) => void) {
    this.#send = send
  }

  /** Asks and waits; rejects after `timeout` milliseconds or when the child is lost. An error response resolves. */
  async call (method: string, rawParams: string, timeout: number): Promise<Message> {
    const rawId = JSON.stringify(PREFIX + this.#next++)
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<Message>((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer to ${method} within ${timeout} ms`)), timeout)
        this.#open.set(rawId, { resolve, reject })
        this.#send(Message.request(rawId, method, rawParams))
      })
    } finally {
      clearTimeout(timer)
      this.#open.delete(rawId)
    }
  }

  /** Asks and does not wait for the answer. */
  tell (method: string, rawParams: string): void {
    this.#send(Message.request(JSON.stringify(PREFIX + this.#next++), method, rawParams))
  }

  /** Takes a response that is the mux's own; `false` for all others. */
  settle (answer: Message): boolean {
    if (answer.rawId?.startsWith(`"${PREFIX}`) !== true) return false
    this.#open.get(answer.rawId)?.resolve(answer)
    return true
  }

  fail (error: CodedError): void {
    for (const { reject } of this.#open.values()) reject(error)
  }
}
