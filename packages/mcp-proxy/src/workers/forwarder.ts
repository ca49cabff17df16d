import { Agent, request as httpRequest, type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream'
import { Message, mcpError, toRpcError } from '@mcp-proxy/protocol'
import type { RouteHook } from '@mcp-proxy/endpoint'
import type { FastifyBaseLogger } from 'fastify'
import { connectionHeader, headersToPass, isForwarded } from './forwarded.js'
import { privateSocket } from './private-socket.js'
import { workerOfState } from './tags.js'

export interface ForwarderOptions {
  readonly directory: string
  readonly count: number
  /** The worker that this is. */
  readonly number: number
  readonly log: FastifyBaseLogger
}

/** Passes requests on to the workers that they belong to. */
export class Forwarder {
  readonly #options: ForwarderOptions
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: 64 })

  constructor (options: ForwarderOptions) {
    this.#options = options
  }

  /** Whether it is another worker. */
  reaches (worker: number): boolean {
    return worker !== this.#options.number && worker <= this.#options.count
  }

  /**
   * Lets a worker answer a request.
   * @param body the request's, where it has been read
   * @returns `false`, and nothing has happened, when that worker is not there
   */
  async forward (request: IncomingMessage, response: ServerResponse, worker: number, body?: Buffer): Promise<boolean> {
    const outgoing = await this.#connect(request, worker, body)
    if (outgoing === undefined) return false
    // its end has been told already
    if (response.closed) {
      outgoing.destroy()
      return true
    }
    outgoing.once('response', (incoming) => {
      response.writeHead(incoming.statusCode ?? 502, incoming.statusMessage, headersToPass(incoming.rawHeaders))
      // an answer that breaks off breaks off here too
      pipeline(incoming, response, () => {})
    })
    outgoing.on('error', (err) => {
      // a client that has left is no failure of that worker's
      if (!response.destroyed) this.#options.log.error({ err, owner: worker }, 'the worker of a session is lost')
      if (response.headersSent) response.destroy()
      else answerLost(response)
    })
    // what is abandoned here is cancelled there; of what was answered early, the rest of the body is of no use
    response.once('close', () => { if (!response.writableFinished || !request.complete) outgoing.destroy() })
    if (body !== undefined) outgoing.end(body)
    else if (hasBody(request)) sendBody(request, outgoing)
    else outgoing.end()
    return true
  }

  /** A hook behind the body: a call that waits for its client's input waits in one worker, and its retry may have come to any. */
  readonly retry: RouteHook = async ({ body, raw, headers }, reply) => {
    if (!Buffer.isBuffer(body) || isForwarded(raw) || headers['mcp-session-id'] !== undefined) return
    const worker = workerOfState(stateIn(body))
    if (worker === undefined || !this.reaches(worker)) return
    if (await this.forward(raw, reply.raw, worker, body)) reply.hijack()
  }

  /** A request with nothing sent yet, on a connection with a worker; `undefined` when there is none. */
  async #connect (request: IncomingMessage, worker: number, body: Buffer | undefined): Promise<ClientRequest | undefined> {
    const { method = 'GET', url = '/', rawHeaders, headers } = request
    const framing = body !== undefined ? ['content-length', String(body.length)] : headers['transfer-encoding'] !== undefined ? ['transfer-encoding', 'chunked'] : []
    const outgoing = httpRequest({
      agent: this.#agent,
      socketPath: privateSocket(this.#options.directory, worker),
      method,
      path: url,
      headers: [...headersToPass(rawHeaders, body === undefined ? undefined : 'content-length'), ...framing, ...connectionHeader(request)],
    })
    return await new Promise((resolve) => {
      const lost = (): void => resolve(undefined)
      const connected = (): void => {
        outgoing.off('error', lost)
        resolve(outgoing)
      }
      outgoing.once('error', lost).once('socket', (socket) => {
        if (socket.connecting) socket.once('connect', connected)
        else connected()
      })
    })
  }
}

function answerLost (response: ServerResponse): void {
  const error = mcpError('MCP_ERR_WORKER_LOST')
  response.writeHead(error.statusCode ?? 502, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', error: toRpcError(error) }))
}

/** Where it is not wanted any more the rest is read and dropped: on this connection another request may follow. */
function sendBody (request: IncomingMessage, outgoing: ClientRequest): void {
  request.pipe(outgoing)
  outgoing.once('close', () => request.unpipe(outgoing).resume())
}

function hasBody ({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** The state that a retry brings. Most bodies have none, and are not read for it. */
function stateIn (body: Buffer): unknown {
  if (!body.includes('"requestState"')) return undefined
  try {
    const message = Message.parse(body)
    return Array.isArray(message) ? undefined : message.params?.['requestState']
  } catch {
    // what is wrong with it the endpoint says
    return undefined
  }
}
