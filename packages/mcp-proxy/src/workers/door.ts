import { createServer, maxHeaderSize, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { restoreConnection } from './forwarded.js'
import type { Forwarder } from './forwarder.js'
import { workerOfRequest } from './tags.js'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

export interface DoorOptions {
  readonly keepAliveTimeout: number
  readonly requestTimeout: number
}

/**
 * The HTTP server of a worker. Connections of clients are handed to it; it listens only for the other workers, on a
 * private socket. Requests that belong to others are passed on, what others pass on is served.
 */
export class Door {
  readonly server: Server
  readonly #handler: Handler
  readonly #forwarder: Forwarder
  readonly #clients = new WeakSet<Socket>()
  readonly #open = new Set<ServerResponse>()
  #onidle: (() => void) | undefined

  constructor (handler: Handler, forwarder: Forwarder, { keepAliveTimeout, requestTimeout }: DoorOptions) {
    this.#handler = handler
    this.#forwarder = forwarder
    // what is passed on has one header more
    this.server = createServer({ keepAliveTimeout, requestTimeout, maxHeaderSize: maxHeaderSize + 512 }, (request, response) => this.#receive(request, response))
  }

  /** Takes over a client's connection, of which something was read already. */
  adopt (socket: Socket, head: Buffer): void {
    const readHere = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(socket), 'bytesRead')?.get
    // a client that has said something is not silent
    Object.defineProperty(socket, 'bytesRead', { get: () => head.length + Number(readHere?.call(socket) ?? 0) })
    // as for any socket of a server: who has nothing more to say still hears the answer
    socket.allowHalfOpen = true
    if (head.length > 0) socket.unshift(head)
    this.#clients.add(socket)
    this.server.emit('connection', socket)
  }

  async listen (path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject).listen(path, () => {
        this.server.off('error', reject)
        resolve()
      })
    })
  }

  /**
   * Resolves when all answers that have begun are out; what comes meanwhile is still served.
   * @param patience milliseconds at most
   * @returns whether there were any, and all of them are out
   */
  async drain (patience: number): Promise<boolean> {
    if (this.#open.size === 0) return false
    return await new Promise((resolve) => {
      this.#onidle = () => resolve(true)
      setTimeout(resolve, patience, false).unref()
    })
  }

  #receive (request: IncomingMessage, response: ServerResponse): void {
    this.#open.add(response)
    response.once('close', () => {
      this.#open.delete(response)
      if (this.#open.size === 0) this.#onidle?.()
    })
    if (!this.#clients.has(request.socket)) {
      restoreConnection(request)
      this.#handler(request, response)
      return
    }
    const owner = workerOfRequest(request)
    if (owner === undefined || !this.#forwarder.reaches(owner)) {
      this.#handler(request, response)
      return
    }
    void this.#forwarder.forward(request, response, owner).then((taken) => {
      // of a worker that is not there nobody knows the session: that is what the endpoint says
      if (!taken && !response.destroyed) this.#handler(request, response)
    })
  }
}
