import { mediaType, readEvents, type StreamEvent } from './answer.js'
import { Backoff } from './backoff.js'
import { endedError } from './coded.js'
import { discard } from './http.js'
import { Linger } from './linger.js'
import type { RemoteSettings } from './options.js'

export interface FollowOptions {
  readonly settings: RemoteSettings
  /** Ends it. */
  readonly controller: AbortController
  readonly onevent: (event: StreamEvent) => Promise<void>
  /** What the stream was for has come. */
  readonly isOver: () => boolean
  /** Asks for the rest of the stream, after an event. */
  readonly resume: (lastEventId: string, signal: AbortSignal) => Promise<Response>
}

/**
 * Reads the stream of one request to its end. One that breaks before is resumed, where its events have ids (2025-03-26,
 * "Resumability and Redelivery"; 2025-11-25 lets servers end it on purpose, and have clients come back).
 * @throws MCP_ERR_REMOTE_ENDED, MCP_ERR_REMOTE_MESSAGE_SIZE
 */
export async function followStream (response: Response, { settings, controller, onevent, isOver, resume }: FollowOptions): Promise<void> {
  const { signal } = controller
  const backoff = new Backoff(settings.reconnect)
  const linger = new Linger(controller)
  let lastEventId: string | undefined
  let cause: unknown
  try {
    await read()
  } finally {
    linger.end()
  }

  async function read (): Promise<void> {
    for (let stream: Response | undefined = response; ;) {
      try {
        for await (const event of stream === undefined ? [] : readEvents(stream, settings, milliseconds => backoff.obey(milliseconds))) {
          backoff.reset()
          lastEventId = event.id ?? lastEventId
          await onevent(event)
          if (isOver()) linger.begin()
        }
      } catch (error) {
        if (isTooLarge(error) && !isOver()) throw error
        cause = error
      }
      if (isOver()) return
      if (lastEventId === undefined || !await backoff.pause(signal)) throw endedError(settings, cause)
      stream = await open(lastEventId)
    }
  }

  /** `undefined` when it may be tried again. */
  async function open (lastEventId: string): Promise<Response | undefined> {
    let resumed: Response
    try {
      resumed = await resume(lastEventId, signal)
    } catch (error) {
      cause = error
      return undefined
    }
    if (resumed.ok && mediaType(resumed) === 'text/event-stream') return resumed
    await discard(resumed)
    // the session is gone, or the server resumes nothing: whether the call has been worked on is not known
    if (resumed.status < 500 && resumed.status !== 429) throw endedError(settings, cause)
    return undefined
  }
}

function isTooLarge (error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'MCP_ERR_REMOTE_MESSAGE_SIZE'
}
