import { finished } from 'node:stream'
import type { Writable } from 'node:stream'
import type { Message } from '@mcp-proxy/protocol'

const LINE_FEED = Buffer.from('\n')
/** Milliseconds that a reader has at the end: one that has stopped must not keep the process. */
const LAST_WORDS = 1_000

/** Writes messages to a stream, one a line. What is written to one that has gone is lost, and nothing fails. */
export class LineWriter {
  readonly #stream: Writable
  readonly #stopWatching: () => void
  #gone = false
  #room: Promise<void> | undefined
  #makeRoom: () => void = () => {}

  /** @param ongone nobody reads any more */
  constructor (stream: Writable, ongone: () => void) {
    this.#stream = stream
    stream.on('drain', this.#drained)
    // an error without a listener, as EPIPE is when the reader has left, would end the process
    stream.on('error', ignore)
    this.#stopWatching = finished(stream, { readable: false }, () => {
      this.#gone = true
      this.#drained()
      ongone()
    })
  }

  /** A promise while the reader is slow: it settles when there is room again. */
  get room (): Promise<void> | undefined { return this.#room }

  write ({ bytes }: Message): void | Promise<void> {
    if (this.#gone) return
    // one chunk, so that others who write to the same stream do not come between
    if (this.#stream.write(Buffer.concat([bytes, LINE_FEED]))) return
    this.#room ??= new Promise((resolve) => { this.#makeRoom = resolve })
    return this.#room
  }

  /** Settles when all has been handed on, or cannot be any more: not to a reader that takes nothing for {@link LAST_WORDS}. */
  async flush (): Promise<void> {
    if (this.#gone || this.#stream.writableLength === 0) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LAST_WORDS)
      this.#stream.write('', () => resolve())
    })
    clearTimeout(timer)
  }

  /** Leaves the stream as it was, open. */
  release (): void {
    this.#gone = true
    this.#stream.off('drain', this.#drained)
    this.#stopWatching()
    this.#drained()
  }

  readonly #drained = (): void => {
    this.#room = undefined
    this.#makeRoom()
  }
}

function ignore (): void {}
