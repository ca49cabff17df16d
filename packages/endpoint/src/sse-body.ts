import type { OutgoingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import type { onSendHookHandler } from 'fastify'
import type { Carrier, SseStream } from './sse-stream.js'

/** An event stream as the payload of a reply, so that the app's `onSend` hooks see it, and may put something around it. */
export class SseBody extends Readable implements Carrier {
  /** What it is the body of. */
  readonly events: SseStream

  constructor (events: SseStream) {
    // one chunk at a time: the queue is that of the events
    super({ highWaterMark: 1 })
    this.events = events
    this.on('error', ignore)
  }

  write (chunk: Buffer): boolean {
    return this.push(chunk)
  }

  end (): void {
    this.push(null)
  }

  /** Fastify joins the payload to the response at last: when it is still this body, the events need it no longer. */
  override pipe<T extends NodeJS.WritableStream> (target: T, options?: { end?: boolean }): T {
    // with trailers Fastify ends the response itself
    if (target as unknown !== this.events.response || options?.end === false) return super.pipe(target, options)
    this.events.carriedBy(target as unknown as Carrier)
    // who watches it sees the end of a body without bytes
    this.push(null)
    this.resume()
    return target
  }

  override _read (): void {
    // somebody reads it: so it is what the events go through
    if (this.events.carrier === undefined) this.events.carriedBy(this)
    else this.emit('drain')
  }

  override _destroy (error: Error | null, callback: (error: Error | null) => void): void {
    // something around it may still hold its last bytes when it has been read to its end
    if (this.events.carrier === this && !this.readableEnded) this.events.destroy()
    callback(error)
  }
}

/**
 * The last `onSend` hook of a route whose event streams stay open. When those of the app have left the payload as it was,
 * Fastify is done with it here: the watchers that it would add keep more than the stream itself does.
 */
export const writeDirectly: onSendHookHandler = (_request, reply, payload, done) => {
  const { raw } = reply
  // a hook that has written the head by itself: Fastify puts up with that
  if (!(payload instanceof SseBody) || raw.headersSent) {
    done(null, payload)
    return
  }
  raw.on('error', ignore)
  raw.writeHead(reply.statusCode, reply.getHeaders() as OutgoingHttpHeaders)
  reply.hijack()
  raw.flushHeaders()
  payload.events.carriedBy(raw)
}

/** A client that resets the connection is nothing to report. */
function ignore (): void {}
