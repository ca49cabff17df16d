import { Agent, request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { runBinary, type Running, type RunOptions } from './binary.js'
import { JSON_AND_STREAM } from './http.js'
import { until } from './until.js'

interface Teardown { teardown: (fn: () => unknown) => void }

/** The binary with several workers. */
export interface Crew {
  readonly running: Running
  readonly url: string
  /** Process ids of the workers that have become ready so far, the latest of each number. */
  readonly workers: () => Map<number, number>
}

/** Runs the binary with three workers, on a free port. */
export async function serveWorkers (t: Teardown, args: readonly string[], options?: RunOptions): Promise<Crew> {
  const running = runBinary(t, ['--port', '0', '--workers', '3', ...args], options)
  const [, url = ''] = await running.wrote(/MCP servers? ready:[^]*?(http:\/\/[\d.]+:\d+)/)
  const workers = (): Map<number, number> => new Map(running.log().filter(({ msg }) => msg === 'worker is ready').map(({ worker, workerPid }) => [Number(worker), Number(workerPid)]))
  // what it prints and what it logs come by different pipes
  await until(() => workers().size === 3)
  return { running, url, workers }
}

/** The number of the worker that has made a session id. */
export function workerOf (sessionId: string | undefined): number {
  return Number(/-w(\d+)$/.exec(sessionId ?? '')?.[1])
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** Whether its request came on a connection that had carried another. */
  readonly reused: boolean
}

export interface SendOptions {
  method?: string
  path?: string
  headers?: Record<string, string>
  body?: unknown
  /** @default a connection of its own */
  agent?: Agent
}

/** One request; resolves with the response before its body. */
export async function open (url: string, { method = 'POST', path = '/mcp', headers = {}, body, agent }: SendOptions): Promise<{ response: IncomingMessage, reused: boolean }> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  return await new Promise((resolve, reject) => {
    const outgoing = request(new URL(path, url), { method, agent: agent ?? false, headers: { accept: JSON_AND_STREAM, ...(text !== undefined && { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }), ...headers } })
    outgoing.once('response', response => resolve({ response, reused: outgoing.reusedSocket })).once('error', reject).end(text)
  })
}

/** One request and its whole answer. */
export async function send (url: string, options: SendOptions): Promise<Answer> {
  const { response, reused } = await open(url, options)
  let body = ''
  for await (const chunk of response.setEncoding('utf8')) body += String(chunk)
  return { status: response.statusCode ?? 0, headers: response.headers, body, reused }
}

/** Opens a session over a connection of its own; returns the headers that name it. */
export async function openSession (url: string, headers: Record<string, string> = {}): Promise<Record<string, string>> {
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'raw', version: '1' } }
  const opened = await send(url, { headers, body: { jsonrpc: '2.0', id: 0, method: 'initialize', params } })
  const session = { ...headers, 'mcp-session-id': String(opened.headers['mcp-session-id']) }
  await send(url, { headers: session, body: { jsonrpc: '2.0', method: 'notifications/initialized' } })
  return session
}

/** Opens sessions until so many workers have one each. */
export async function openSessions (url: string, count: number): Promise<Array<Record<string, string>>> {
  const sessions = new Map<number, Record<string, string>>()
  while (sessions.size < count) {
    const session = await openSession(url)
    const worker = workerOf(session['mcp-session-id'])
    if (!sessions.has(worker)) sessions.set(worker, session)
  }
  return [...sessions.values()]
}

/** A bare connection, which is not told about its end. */
export function plug (t: Teardown, url: string): Socket {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

/** What a connection has said that a test writes to by itself. */
export class Plug {
  readonly socket: Socket
  heard = ''

  constructor (t: Teardown, url: string) {
    this.socket = plug(t, url)
    this.socket.setEncoding('utf8').on('data', (text: string) => { this.heard += text })
  }

  /** Writes a request of a session; forgets what was heard before. */
  send (method: 'GET' | 'POST', session: Record<string, string>, body?: object): void {
    this.heard = ''
    const text = body === undefined ? '' : JSON.stringify(body)
    const accept = method === 'GET' ? 'text/event-stream' : JSON_AND_STREAM
    const about = body === undefined ? '' : `content-type: application/json\r\ncontent-length: ${text.length}\r\n`
    this.socket.write(`${method} /mcp HTTP/1.1\r\nhost: localhost\r\naccept: ${accept}\r\n${about}mcp-session-id: ${session['mcp-session-id']}\r\n\r\n${text}`)
  }

  async hears (text: string): Promise<void> {
    await until(() => this.heard.includes(text))
  }
}
