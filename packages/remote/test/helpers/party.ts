import { CLIENT_CAPABILITIES_KEY, Message, PROTOCOL_VERSION_KEY, type ConnectContext, type Connection, type FastifyBaseLogger, type SendOptions, type Transport } from '@mcp-proxy/protocol'
import { remoteServer, type RemoteServer, type RemoteServerOptions } from '@mcp-proxy/remote'
import { until, type Json } from './scripted.js'

interface Teardown { teardown: (fn: () => unknown) => void }

export interface Heard {
  readonly json: Json & { id?: unknown, method?: string, params?: Json, result?: Json, error?: Json & { code: number, message: string, data?: Json } }
  readonly text: string
  readonly options: SendOptions | undefined
}

/** Whoever is joined to a remote server: says something, and keeps what it hears. */
export class TestParty {
  readonly heard: Heard[] = []
  closed = false
  /** Set to make it a slow reader: each message waits for this. */
  slow: Promise<void> | undefined
  readonly #transport: Transport
  readonly connection: Connection
  #lastId = 0

  constructor (remote: RemoteServer, context: Partial<ConnectContext> = {}) {
    this.#transport = {
      send: (message, options) => {
        const text = message.bytes.toString()
        this.heard.push({ text, json: JSON.parse(text) as Json, options })
        return this.slow
      },
      close: () => { this.closed = true },
    }
    this.connection = remote.connect(this.#transport, { id: 'test', principal: undefined, request: undefined, log: makeLog([]), ...context })
  }

  write (text: string): void {
    const message = Message.parse(Buffer.from(text))
    for (const each of Array.isArray(message) ? message : [message]) this.#transport.onmessage?.(each)
  }

  tell (method: string, params: Json = {}): void {
    this.write(JSON.stringify({ jsonrpc: '2.0', method, params }))
  }

  /** Sends a request; returns its id. */
  ask (method: string, params: Json = {}): number {
    const id = ++this.#lastId
    this.write(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    return id
  }

  /** The same as a client of 2026-07-28. */
  askModern (method: string, params: Json = {}): number {
    return this.ask(method, { ...params, _meta: { [PROTOCOL_VERSION_KEY]: '2026-07-28', [CLIENT_CAPABILITIES_KEY]: {} } })
  }

  async answer (id: unknown): Promise<Heard['json']> {
    const find = (): Heard | undefined => this.heard.find(({ json }) => json.id === id && json.method === undefined)
    await until(() => find() !== undefined)
    return (find() as Heard).json
  }

  async call (method: string, params: Json = {}): Promise<Heard['json']> {
    return await this.answer(this.ask(method, params))
  }

  async callModern (method: string, params: Json = {}): Promise<Heard['json']> {
    return await this.answer(this.askModern(method, params))
  }

  /** Shakes hands. */
  async start (capabilities: Json = {}): Promise<void> {
    await this.call('initialize', { protocolVersion: '2025-11-25', capabilities, clientInfo: { name: 'test', version: '1' } })
    this.tell('notifications/initialized')
  }

  of (method: string): Heard[] {
    return this.heard.filter(({ json }) => json.method === method)
  }

  async told (method: string, n: number = 1): Promise<Heard> {
    await until(() => this.of(method).length >= n)
    return this.of(method)[n - 1] as Heard
  }
}

export interface LogLine { readonly level: string, readonly object: unknown, readonly text: string | undefined }

export function makeLog (lines: LogLine[]): FastifyBaseLogger {
  const at = (level: string) => (object: unknown, text?: string): void => { lines.push({ level, object, text }) }
  return { fatal: at('fatal'), error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') }
}

/** A remote server that is closed with the test, and comes back at once. */
export function remote (t: Teardown, options: RemoteServerOptions): RemoteServer {
  const server = remoteServer({ reconnect: { delay: 1, maxDelay: 5, maxRetries: 5 }, ...options })
  t.teardown(() => server.close())
  return server
}
