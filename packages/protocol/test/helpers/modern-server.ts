import type { Test } from 'tap'
import {
  CLIENT_CAPABILITIES_KEY, Message, PROTOCOL_VERSION_KEY, SUBSCRIPTION_ID_KEY, isObject, legacyOverModern, metaOf,
  type ConnectContext, type Connection, type FastifyBaseLogger, type JsonRpcMessage, type LegacyOverModernOptions, type SendOptions, type Transport,
} from '@mcp-proxy/protocol'

/** Waits for what has no event. */
export async function until (condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 2))
}

export interface LogLine {
  readonly level: string
  readonly object: unknown
  readonly text: string | undefined
}

export function makeLog (lines: LogLine[] = []): FastifyBaseLogger {
  const at = (level: string) => (object: unknown, text?: string): void => { lines.push({ level, object, text }) }
  return { fatal: at('fatal'), error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') }
}

/** A message as somebody has received it. */
export interface Heard {
  readonly text: string
  readonly json: JsonRpcMessage
  readonly options: SendOptions | undefined
}

const heard = (message: Message, options?: SendOptions): Heard => {
  const text = message.bytes.toString()
  return { text, json: JSON.parse(text) as JsonRpcMessage, options }
}

/** One end of a session of a modern server: an array of what it has heard. */
export class ServerEnd {
  readonly heard: Heard[] = []
  readonly context: ConnectContext
  readonly transport: Transport
  closed = false
  /** Called for each message, at once. */
  onheard: (heard: Heard) => void = () => {}

  constructor (transport: Transport, context: ConnectContext) {
    this.context = context
    this.transport = transport
    transport.onmessage = (message) => {
      const item = heard(message)
      this.heard.push(item)
      this.onheard(item)
    }
  }

  /** Says something, as JSON text or as an object, as if it had come from a process. */
  say (json: string | object, options?: SendOptions): void | Promise<void> {
    const message = Message.read(Buffer.from(typeof json === 'string' ? json : JSON.stringify(json)))
    if (message === undefined) throw new TypeError('no message')
    return this.transport.send(message, options)
  }

  /** Answers the last request of a method; `result` may be JSON text. */
  answer (method: string, result: string | object): void {
    const text = typeof result === 'string' ? result : JSON.stringify(result)
    void this.say(`{"jsonrpc":"2.0","id":${this.id(method)},"result":${text}}`)
  }

  fail (method: string, error: object): void {
    void this.say({ jsonrpc: '2.0', id: this.id(method), error })
  }

  /** Acknowledges the last subscription. */
  acknowledge (notifications: object, id: number = this.id('subscriptions/listen')): void {
    void this.say({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { _meta: { [SUBSCRIPTION_ID_KEY]: id }, notifications } })
  }

  all (method: string): Heard[] {
    return this.heard.filter(({ json }) => json.method === method)
  }

  last (method: string): Heard {
    const found = this.all(method).at(-1)
    if (found === undefined) throw new Error(`the server has not heard ${method}`)
    return found
  }

  id (method: string): number {
    return this.last(method).json.id as number
  }
}

/** A legacy client: an array of what it has received. */
export class LegacyClient implements Transport {
  readonly heard: Heard[] = []
  onmessage?: ((message: Message) => void) | undefined
  connection!: Connection
  server!: ServerEnd
  closed = false
  /** What `send` returns. */
  room: Promise<void> | undefined
  /** Called for each message, at once. */
  onheard: (heard: Heard) => void = () => {}

  send (message: Message, options?: SendOptions): void | Promise<void> {
    const item = heard(message, options)
    this.heard.push(item)
    this.onheard(item)
    return this.room
  }

  close (): void { this.closed = true }

  say (json: string | object): void {
    this.onmessage?.(Message.parse(Buffer.from(typeof json === 'string' ? json : JSON.stringify(json))) as Message)
  }

  ask (id: number | string, method: string, params?: object): void {
    this.say({ jsonrpc: '2.0', id, method, params })
  }

  notify (method: string, params?: object): void {
    this.say({ jsonrpc: '2.0', method, params })
  }

  all (method: string): Heard[] {
    return this.heard.filter(({ json }) => json.method === method)
  }

  answers (): Heard[] {
    return this.heard.filter(({ json }) => json.method === undefined)
  }

  answer (id: number | string): JsonRpcMessage | undefined {
    return this.answers().find(({ json }) => json.id === id)?.json
  }

  /** Shakes hands with a server of these capabilities, and forgets what was said meanwhile. */
  shakeHands (capabilities: object = {}, serverCapabilities: object = { tools: {} }): this {
    this.ask('init', 'initialize', { protocolVersion: '2025-11-25', capabilities, clientInfo: { name: 'c', version: '1' } })
    this.server.answer('server/discover', { resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: serverCapabilities })
    this.notify('notifications/initialized')
    this.heard.length = 0
    return this
  }
}

export interface TestProxy {
  readonly log: LogLine[]
  /** Opens a session. */
  client: (context?: Partial<ConnectContext>) => LegacyClient
}

/** A translator with a server that says only what a test lets it say. */
export function makeProxy (options?: LegacyOverModernOptions): TestProxy {
  const log: LogLine[] = []
  let end: ServerEnd | undefined
  const connect = legacyOverModern((transport, context) => {
    const server = end = new ServerEnd(transport, context)
    return { close: async () => { server.closed = true } }
  }, options)
  return {
    log,
    client: (context) => {
      const client = new LegacyClient()
      client.connection = connect(client, { id: 'test', principal: undefined, request: undefined, log: makeLog(log), ...context })
      client.server = end as ServerEnd
      return client
    },
  }
}

/** Whether a request bears what each of 2026-07-28 must. */
export function isStamped (json: JsonRpcMessage): boolean {
  const meta = metaOf(Message.from(json))
  return meta[PROTOCOL_VERSION_KEY] === '2026-07-28' && isObject(meta[CLIENT_CAPABILITIES_KEY])
}

/** As many as there are patterns, and each fits its own: `match` alone lets an array have more. */
export function exactly (t: Test, list: readonly unknown[], patterns: readonly unknown[], message = 'as many as expected, each as expected'): void {
  t.equal(list.length, patterns.length, message)
  t.match(list, patterns, message)
}
