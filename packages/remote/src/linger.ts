/** Milliseconds that a server has to end what is over: a stream whose answer has come, or a session. */
export const LINGER = 2_000

/**
 * The end of a stream whose answer has come. The server ends it, which leaves the connection to others; one that does not
 * is not waited for.
 */
export class Linger {
  readonly #controller: AbortController
  #timer: NodeJS.Timeout | undefined

  /** @param controller aborts the stream */
  constructor (controller: AbortController) {
    this.#controller = controller
  }

  /** The answer has come. */
  begin (): void {
    this.#timer ??= setTimeout(() => this.#controller.abort(), LINGER).unref()
  }

  /** The stream has ended. */
  end (): void {
    clearTimeout(this.#timer)
  }
}
