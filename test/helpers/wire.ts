/** A JSON-RPC message as a test reads it. */
export interface Rpc {
  id?: string | number
  method?: string
  params?: Record<string, unknown>
  result?: Record<string, unknown>
  error?: { code: number, message: string, data?: unknown }
}

type Listener = (message: unknown, extra?: unknown) => void

/** What an SDK client says and hears, before its schemas and helpers have touched it. */
export class Wire {
  readonly sent: Rpc[] = []
  readonly received: Rpc[] = []
  readonly #waiting = new Set<() => void>()

  /** Listens to a transport of any SDK, which has to be told before the client connects. */
  constructor (transport: object) {
    const send = Reflect.get(transport, 'send') as (...args: unknown[]) => Promise<void>
    let listener: Listener | undefined
    Object.defineProperty(transport, 'send', {
      value: (message: unknown, ...rest: unknown[]) => {
        this.sent.push(copy(message))
        return Reflect.apply(send, transport, [message, ...rest])
      },
    })
    Object.defineProperty(transport, 'onmessage', {
      get: () => listener,
      set: (given: Listener | undefined) => {
        listener = given === undefined
          ? undefined
          : (message, extra) => {
              this.received.push(copy(message))
              given(message, extra)
              for (const look of [...this.#waiting]) look()
            }
      },
    })
  }

  /** The first message that fits, also one that is already there. */
  async until (fits: (message: Rpc) => boolean): Promise<Rpc> {
    return await new Promise((resolve) => {
      const look = (): void => {
        const found = this.received.find(fits)
        if (found === undefined) return
        this.#waiting.delete(look)
        resolve(found)
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** The answer to the latest request of a method: its result or its error. */
  answerTo (method: string): unknown {
    const request = this.sent.findLast(message => message.method === method && message.id !== undefined)
    const answer = this.received.find(message => message.method === undefined && message.id === request?.id)
    return answer?.error === undefined ? { result: answer?.result } : { error: answer.error }
  }

  /** Notifications of a method, in order. */
  notified (method: string): Rpc[] {
    return this.received.filter(message => message.method === method && message.id === undefined)
  }

  /** Requests of the server, in order. */
  get asked (): Rpc[] {
    return this.received.filter(message => message.method !== undefined && message.id !== undefined)
  }
}

function copy (message: unknown): Rpc {
  return JSON.parse(JSON.stringify(message)) as Rpc
}
