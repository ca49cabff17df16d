import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Teardown { teardown: (fn: () => unknown) => void }

export interface Json { readonly [name: string]: unknown }

/** One HTTP request, and how to answer it. */
export class Asked {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly response: ServerResponse

  constructor (method: string, path: string, headers: IncomingHttpHeaders, text: string, response: ServerResponse) {
    this.method = method
    this.path = path
    this.headers = headers
    this.text = text
    this.response = response
  }

  /** What the body says; empty where there is none. */
  get json (): Json & { id?: unknown, method?: string, params?: Record<string, unknown> } {
    return this.text === '' ? {} : JSON.parse(this.text) as Json
  }

  /** The method of the message, or of HTTP where there is no message. */
  get what (): string { return this.json.method ?? (this.text === '' ? this.method : 'response') }

  answer (json: unknown, { status = 200, headers = {} }: { status?: number, headers?: Record<string, string> } = {}): void {
    this.response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(typeof json === 'string' ? json : JSON.stringify(json))
  }

  result (result: Json, headers: Record<string, string> = {}): void {
    this.answer({ jsonrpc: '2.0', id: this.json.id, result }, { headers })
  }

  error (code: number, { status = 400, message = 'no', data, id = this.json.id }: { status?: number, message?: string, data?: unknown, id?: unknown } = {}): void {
    this.answer({ jsonrpc: '2.0', id, error: { code, message, ...(data !== undefined && { data }) } }, { status })
  }

  status (status: number, headers: Record<string, string> = {}): void {
    this.response.writeHead(status, headers).end()
  }

  /** Starts an event stream. */
  stream (headers: Record<string, string> = {}): this {
    this.response.writeHead(200, { 'content-type': 'text/event-stream', ...headers }).write(': hello\n\n')
    return this
  }

  say (message: Json | string, { id, event }: { id?: string, event?: string } = {}): this {
    const data = typeof message === 'string' ? message : JSON.stringify({ jsonrpc: '2.0', ...message })
    this.response.write(`${id === undefined ? '' : `id: ${id}\n`}${event === undefined ? '' : `event: ${event}\n`}${data.split('\n').map(line => `data: ${line}\n`).join('')}\n`)
    return this
  }

  end (): void { this.response.end() }

  /** The connection breaks, when what was said has gone out. */
  cut (): void {
    if (this.response.headersSent) this.response.write('\n', () => this.response.destroy())
    else this.response.destroy()
  }
}

export interface Scripted {
  readonly url: string
  readonly asked: Asked[]
  /** What is asked, in order. */
  readonly what: () => string[]
  /** The n-th request for something, when it has come. */
  readonly next: (what: string, n?: number) => Promise<Asked>
}

/** A server of HTTP that does what a test says. */
export async function scripted (t: Teardown, handle: (asked: Asked) => void): Promise<Scripted> {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const one = new Asked(request.method ?? '', request.url ?? '', request.headers, Buffer.concat(chunks).toString(), response)
      asked.push(one)
      handle(one)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  const found = (what: string, n: number): Asked | undefined => asked.filter(one => one.what === what)[n - 1]
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    asked,
    what: () => asked.map(one => one.what),
    next: async (what, n = 1) => {
      await until(() => found(what, n) !== undefined)
      return found(what, n) as Asked
    },
  }
}

/** Waits for what has no event. */
export async function until (condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 2))
}
