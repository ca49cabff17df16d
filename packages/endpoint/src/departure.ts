import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'

/** What is behind other responses of its connection. One listener for all: clients may line up as many as they like. */
const linedUp = new WeakMap<Socket, Map<ServerResponse, () => void>>()

/** Whether the client has left already, while hooks of the app took their time: nothing will say so any more. */
export function hasLeft ({ raw }: FastifyReply): boolean {
  // a response of HTTP/2 does not know it by itself
  return raw.closed || raw.destroyed || ('stream' in raw && isDestroyed(raw.stream))
}

/** Calls back when a response is over: it is sent, or its client {@link hasLeft}. Perhaps twice. */
export function onOver ({ raw, request }: FastifyReply, listener: () => void): void {
  raw.on('close', listener)
  // a stream of HTTP/2 that its client gives up without an error stays open for what that has not read, while the connection does
  if ('stream' in raw) request.raw.once('aborted', () => { raw.destroy() })
  // Node tells only the response whose turn it is that the connection has broken, and none that is behind it
  if (raw.socket === null) lineUp(request.raw.socket, raw, listener)
}

function lineUp (socket: Socket, response: ServerResponse, listener: () => void): void {
  const listeners = linedUp.get(socket) ?? new Map<ServerResponse, () => void>()
  if (!linedUp.has(socket)) {
    linedUp.set(socket, listeners)
    socket.once('close', () => { for (const tell of [...listeners.values()]) tell() })
  }
  listeners.set(response, listener)
  response.once('close', () => listeners.delete(response))
}

function isDestroyed (stream: unknown): boolean {
  return typeof stream === 'object' && stream !== null && 'destroyed' in stream && stream.destroyed === true
}
