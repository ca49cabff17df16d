import Fastify, { type FastifyInstance } from 'fastify'
import { CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, Message, PROTOCOL_VERSION_KEY, type Connect, type ConnectContext, type SendOptions, type Transport } from '@mcp-proxy/protocol'
import { mcpSse } from '@mcp-proxy/sse'
import { mcpStream, type McpStreamOptions } from '@mcp-proxy/stream'
import type { Teardown } from './app.js'
import { until } from './until.js'

export const REVISION = '2026-07-28'

/** What a modern client says of itself in each request. */
export const META: Readonly<Record<string, unknown>> = { [PROTOCOL_VERSION_KEY]: REVISION, [CLIENT_INFO_KEY]: { name: 'test', version: '1' }, [CLIENT_CAPABILITIES_KEY]: {} }

export interface ModernRequest extends Record<string, unknown> {
  jsonrpc: '2.0'
  id: string | number
  method: string
  params: Record<string, unknown>
}

export function modern (id: string | number, method: string, params: object = {}, meta: object = META): ModernRequest {
  return { jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } }
}

/** The headers that go with a request. */
export function headersOf ({ method, params }: ModernRequest, more: Record<string, string> = {}): Record<string, string> {
  const name = method === 'resources/read' ? params['uri'] : params['name']
  return { 'mcp-protocol-version': REVISION, 'mcp-method': method, ...(typeof name === 'string' && { 'mcp-name': name }), ...more }
}

/** One request as the server behind sees it. */
export class FakeCall {
  readonly heard: Message[] = []
  readonly context: ConnectContext
  closed = 0
  readonly #transport: Transport

  constructor (transport: Transport, context: ConnectContext) {
    this.#transport = transport
    this.context = context
  }

  get request (): Message {
    const [first] = this.heard
    if (first === undefined) throw new Error('nothing was heard')
    return first
  }

  answer (result: object = { resultType: 'complete' }): void {
    this.send(Message.result(String(this.request.rawId), JSON.stringify(result)))
  }

  fail (code: number, data?: object, options?: SendOptions): void {
    this.send(Message.error(String(this.request.rawId), { code, message: 'no', ...(data !== undefined && { data }) }), options)
  }

  notify (method: string, params: Record<string, unknown> = {}): void {
    this.send(Message.notification(method, params), { relatedRequestId: String(this.request.rawId) })
  }

  send (message: Message, options?: SendOptions): void {
    void this.#transport.send(message, options)
  }

  /** The server ends the connection by itself. */
  hangUp (): void {
    void this.#transport.close()
  }
}

/** A server that speaks 2026-07-28. It lists its tools, and does with other requests what the test says; without that it answers at once. */
export class Fake {
  /** What clients have asked, without `tools/list`. */
  readonly calls: FakeCall[] = []
  /** `tools/list` of whomever. */
  readonly lists: FakeCall[] = []
  /** Pages of tools; `undefined` answers -32601. */
  pages: object[][] | undefined = [[]]
  onlist: ((call: FakeCall) => void) | undefined
  oncall: (call: FakeCall) => void = call => call.answer()

  readonly connect: Connect = (transport, context) => {
    const call = new FakeCall(transport, context)
    transport.onmessage = (message) => {
      call.heard.push(message)
      if (call.heard.length > 1) return
      if (message.method === 'tools/list') {
        this.lists.push(call)
        if (this.onlist !== undefined) this.onlist(call)
        else this.list(call)
      } else {
        this.calls.push(call)
        this.oncall(call)
      }
    }
    return { close: async () => { call.closed++ } }
  }

  list (call: FakeCall): void {
    if (this.pages === undefined) call.fail(-32601)
    else {
      const page = Number(call.request.params?.['cursor'] ?? 0)
      call.answer({ resultType: 'complete', tools: this.pages[page] ?? [], ...(page + 1 < this.pages.length && { nextCursor: String(page + 1) }) })
    }
  }

  get call (): FakeCall {
    const call = this.calls.at(-1)
    if (call === undefined) throw new Error('nobody has called')
    return call
  }

  /** Once so many requests have come. */
  async called (count = 1): Promise<FakeCall> {
    await until(() => this.calls.length >= count)
    return this.call
  }
}

/** Both endpoints in front of a fake, closed with the test. */
export async function buildFake (t: Teardown, stream: McpStreamOptions = {}): Promise<{ app: FastifyInstance, fake: Fake }> {
  const fake = new Fake()
  const app = Fastify({ logger: false })
  t.teardown(() => app.close())
  await app.register(mcpStream, { connect: fake.connect, closeGrace: 0, ...stream })
  await app.register(mcpSse, { connect: fake.connect, closeGrace: 0 })
  await app.ready()
  return { app, fake }
}

/** The same, listening on a free port of the loopback address. */
export async function startFake (t: Teardown, stream: McpStreamOptions = {}): Promise<{ app: FastifyInstance, fake: Fake, url: string }> {
  const built = await buildFake(t, stream)
  return { ...built, url: `${await built.app.listen({ port: 0, host: '127.0.0.1' })}/stream` }
}
