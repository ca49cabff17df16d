import { BusySet } from '@mcp-proxy/protocol'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

const watched = new WeakSet<object>()
/** Milliseconds that a connection which comes while the app closes has to say something. */
const PATIENCE = 500

/**
 * Ends connections that have never said anything when the app closes. Node counts only those as idle that have had a
 * request, and waits for the others; and Node 20's own fetch opens a new one each time it abandons an event stream.
 */
export function endSilentConnections (fastify: FastifyInstance): void {
  const { server } = fastify
  if (watched.has(server)) return
  watched.add(server)
  const open = new BusySet<Socket>()
  let closing = false
  const endIfSilent = (socket: Socket): void => { if (socket.bytesRead === 0) socket.destroy() }
  const keep = (socket: Socket): void => {
    open.add(socket.once('close', () => open.delete(socket)))
    // one that comes during the grace may bring an answer that a call is waiting for
    if (closing) setTimeout(endIfSilent, PATIENCE, socket).unref()
  }
  server.on('connection', keep)
  // of TLS, where the connection below has said hello
  server.on('secureConnection', keep)
  fastify.addHook('preClose', async () => {
    closing = true
    for (const socket of [...open]) endIfSilent(socket)
  })
}
