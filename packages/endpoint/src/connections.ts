import { ServerResponse } from 'node:http'
import type { Http2Session } from 'node:http2'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { BusySet } from '@mcp-proxy/protocol'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

const watched = new WeakMap<object, Connections>()
/** Milliseconds that a connection which comes while the app closes has to say something. */
const PATIENCE = 500
/** Milliseconds without a word on any connection until they are ended: about what a client takes from one call to the next. */
const QUIET = 25
/** Milliseconds that the last requests and answers get beyond the grace. */
const LAST_WORDS = 1000

/** The connections of a server. When its app closes, each is told so with its last answer, and none is ended that a request has come over. */
class Connections {
  readonly #server: FastifyInstance['server']
  readonly #open = new BusySet<Socket>()
  /** Those of HTTP/2, each of which has a connection to itself. */
  readonly #sessions = new Set<Http2Session>()
  #accepted = 0
  /** `performance.now()` of when the app began to close. */
  #closingSince: number | undefined

  constructor (server: FastifyInstance['server']) {
    this.#server = server
    server.on('connection', this.#keep)
    // of TLS, where the connection below has said hello
    server.on('secureConnection', this.#keep)
    server.on('session', (session: Http2Session) => {
      this.#sessions.add(session)
      session.once('close', () => this.#sessions.delete(session))
    })
  }

  /** Nothing is kept open from now on. */
  announceEnd (): void {
    if (this.#closingSince !== undefined) return
    this.#closingSince = performance.now()
    const silent = [...this.#open]
    // one may have come this moment, and what it says with it: a turn of the event loop reads that
    setImmediate(() => setImmediate(() => silent.forEach(endIfSilent)))
    for (const socket of silent) {
      const response = openResponse(socket)
      // Fastify says it to those who come now: whoever is answered first is not to send more
      if (response !== undefined) response.shouldKeepAlive = false
    }
    this.#server.prependListener('request', (_request, response) => { response.shouldKeepAlive = false })
  }

  /**
   * Resolves when all that has been sent to this process is read, and all that has been said is sent. Node ends connections
   * as idle that have a request in a buffer of the system's, or half of an answer in one of its own.
   * @param grace milliseconds that readers have since the app began to close
   */
  async settle (grace: number): Promise<void> {
    const now = performance.now()
    const over = Math.max(now, (this.#closingSince ?? now) + grace) + LAST_WORDS
    let heard: number
    do {
      heard = this.#heard()
      await this.#sent(over - performance.now())
      // a turn of the event loop reads what has come; a client with one call after the other says more in a moment
      await (this.#open.size === 0 ? turn() : sleep(QUIET))
    } while (heard !== this.#heard() && performance.now() < over)
    // no more requests: what is open goes on to its end. Node does so by itself from 24 on
    for (const session of this.#sessions) session.close()
  }

  readonly #keep = (socket: Socket): void => {
    this.#accepted++
    this.#open.add(socket.once('close', () => this.#open.delete(socket)))
    // one that comes during the grace may bring an answer that a call is waiting for
    if (this.#closingSince !== undefined) setTimeout(endIfSilent, PATIENCE, socket).unref()
  }

  /** A number that is another one when something has come. */
  #heard (): number {
    let sum = this.#accepted
    for (const socket of this.#open) sum += socket.bytesRead
    return sum
  }

  /** Waits for answers that are complete, and not yet on their way. */
  async #sent (patience: number): Promise<void> {
    const unsent = [...this.#open].map(openResponse).filter(response => response?.writableEnded === true)
    if (unsent.length === 0) return
    let timer: NodeJS.Timeout | undefined
    const over = new Promise<void>((resolve) => { timer = setTimeout(resolve, patience) })
    const all = Promise.all(unsent.map(async response => await new Promise(resolve => response?.once('close', resolve))))
    await Promise.race([all, over])
    clearTimeout(timer)
  }
}

/**
 * Ends connections that have never said anything when the app closes. Node counts only those as idle that have had a
 * request, and waits for the others; and Node 20's own fetch opens a new one each time it abandons an event stream.
 */
function endIfSilent (socket: Socket): void {
  if (socket.bytesRead === 0) socket.destroy()
}

/** What a connection is being answered with. Node has no public way to ask. */
function openResponse (socket: Socket): ServerResponse | undefined {
  return '_httpMessage' in socket && socket._httpMessage instanceof ServerResponse ? socket._httpMessage : undefined
}

/** To be called before the hooks of an endpoint that end what is open. */
export function watchConnections (fastify: FastifyInstance): void {
  const { server } = fastify
  const connections = watched.get(server) ?? new Connections(server)
  if (watched.has(server)) return
  watched.set(server, connections)
  fastify.addHook('preClose', async () => connections.announceEnd())
}

/**
 * Resolves when nothing is lost if connections are ended. To be awaited in a hook after those of an endpoint that end what
 * is open: Fastify ends connections behind them.
 * @param grace milliseconds that readers have since the app began to close
 */
export async function settleConnections ({ server }: FastifyInstance, grace: number): Promise<void> {
  await watched.get(server)?.settle(grace)
}
