import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createBridge, type McpBridge, type StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import { Message, type Connection, type FastifyBaseLogger, type JsonRpcMessage, type SendOptions, type Transport } from '@mcp-proxy/protocol'

/** The server with the odd tools, as argv. */
export const CHILD: readonly string[] = [process.execPath, fileURLToPath(new URL('../../../../test/fixtures/child.mjs', import.meta.url))]

/** A program that is written in a test. */
export const script = (source: string): readonly string[] => [process.execPath, '-e', source]

/** What tap offers for cleaning up. */
export interface Teardown {
  teardown: (fn: () => unknown) => void
}

/** What came in, in order, and who waits for more of it. */
class Inbox<T> {
  readonly items: T[] = []
  readonly #waiting = new Set<() => void>()

  put (item: T): void {
    this.items.push(item)
    for (const check of [...this.#waiting]) check()
  }

  /** The first item that fits, of those that came and those to come. */
  async first<S extends T> (fits: (item: T) => item is S): Promise<S>
  async first (fits: (item: T) => boolean): Promise<T>
  async first (fits: (item: T) => boolean): Promise<T> {
    return await new Promise<T>((resolve) => {
      const check = (): void => {
        const found = this.items.find(fits)
        if (found === undefined) return
        this.#waiting.delete(check)
        resolve(found)
      }
      this.#waiting.add(check)
      check()
    })
  }
}

export interface LogLine {
  readonly level: string
  readonly object: Record<string, unknown>
  readonly text: string
}

/** A logger that keeps its lines. */
export class Log extends Inbox<LogLine> implements FastifyBaseLogger {
  readonly fatal = this.#at('fatal')
  readonly error = this.#at('error')
  readonly warn = this.#at('warn')
  readonly info = this.#at('info')
  readonly debug = this.#at('debug')
  readonly trace = this.#at('trace')

  #at (level: string): (object: unknown, text?: string) => void {
    return (object, text) => this.put(typeof object === 'string' ? { level, object: {}, text: object } : { level, object: object as Record<string, unknown>, text: text ?? '' })
  }

  /** Waits for a line on the child's stderr. */
  stderr (pattern: RegExp): Promise<LogLine> {
    return this.first(({ object }) => pattern.test(String(object['stderr'])))
  }

  /** What the child wrote to stderr so far and fits. */
  stderrLines (pattern: RegExp): string[] {
    return this.items.flatMap(({ object: { stderr } }) => typeof stderr === 'string' && pattern.test(stderr) ? [stderr] : [])
  }
}

export interface Delivery {
  readonly json: JsonRpcMessage
  readonly text: string
  readonly options: SendOptions | undefined
}

/** A client without HTTP: an array of what it received. */
export class Client extends Inbox<Delivery> implements Transport {
  onmessage?: ((message: Message) => void) | undefined
  connection!: Connection
  closed = false

  send (message: Message, options?: SendOptions): void {
    const text = message.bytes.toString()
    this.put({ json: JSON.parse(text) as JsonRpcMessage, text, options })
  }

  close (): void { this.closed = true }

  /** Says something, as JSON text or as an object. */
  say (json: string | object): void {
    this.onmessage?.(Message.parse(Buffer.from(typeof json === 'string' ? json : JSON.stringify(json))) as Message)
  }

  /** Asks and waits for the answer to that id. */
  async request (id: string | number, method: string, params: object = {}): Promise<JsonRpcMessage> {
    this.say({ jsonrpc: '2.0', id, method, params })
    return await this.answer(id)
  }

  async answer (id: string | number): Promise<JsonRpcMessage> {
    return (await this.first(({ json }) => json.id === id && json.method === undefined)).json
  }

  /** Starts a call of a tool. */
  call (id: string | number, name: string, args: object = {}, meta?: object): void {
    this.say({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, ...(meta !== undefined && { _meta: meta }) } })
  }

  /** Calls a tool; the text it answers. */
  async tool (id: string | number, name: string, args: object = {}): Promise<string> {
    this.call(id, name, args)
    const answer = await this.answer(id)
    const [content] = answer.result?.['content'] as Array<{ text: string }> ?? []
    if (content === undefined) throw new Error(`${name}: ${JSON.stringify(answer)}`)
    return content.text
  }

  async initialize (capabilities: object = {}, revision = '2025-06-18'): Promise<JsonRpcMessage> {
    const answer = await this.request('init', 'initialize', { protocolVersion: revision, capabilities, clientInfo: { name: 'test', version: '1' } })
    this.say({ jsonrpc: '2.0', method: 'notifications/initialized' })
    return answer
  }

  /** Waits for a request or a notification. */
  async received (method: string): Promise<Delivery> {
    return await this.first(({ json }) => json.method === method)
  }

  /** What came so far under a method. */
  all (method: string): JsonRpcMessage[] {
    return this.items.map(({ json }) => json).filter(json => json.method === method)
  }
}

export interface TestBridge {
  bridge: McpBridge
  log: Log
  client: (principal?: string) => Client
}

/** A bridge to the test child, closed with the test. */
export function makeBridge (t: Teardown, options: Partial<StdioBridgeOptions> = {}): TestBridge {
  const log = new Log()
  const bridge = createBridge({ command: CHILD, isolation: 'shared', stopTimeout: 1000, ...options }, log)
  t.teardown(() => bridge.close())
  return { bridge, log, client: principal => connect(bridge, log, principal) }
}

export function connect (bridge: McpBridge, log: FastifyBaseLogger, principal?: string): Client {
  const client = new Client()
  client.connection = bridge.connect(client, { id: 'test', principal, request: undefined, log })
  return client
}

/** Whether a process runs; one that has ended and was not waited for does not. */
export function isAlive (pid: number): boolean {
  try {
    if (process.platform !== 'linux') return process.kill(pid, 0)
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Waits for what has no event. */
export async function until (condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}
