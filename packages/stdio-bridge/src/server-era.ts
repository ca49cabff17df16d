import { MODERN_REVISIONS, UNSUPPORTED_VERSION, isObject, type Era, type Message } from '@mcp-proxy/protocol'

/** How the server behind a command wants to be spoken to: found out once, and kept as long as the bridge lives. */
export class ServerEra {
  #known: Era | undefined
  /** A child has ended at the question. It may have been the question. */
  #unasked = false
  /** Somebody is finding out. */
  #asked = false
  #waiting: Array<() => void> = []

  /** @param pinned what it is, where somebody knows */
  constructor (pinned: Era | undefined) {
    this.#known = pinned
  }

  /** `undefined` until a child has shown it. */
  get known (): Era | undefined { return this.#known }

  /** Do not ask the next child: it is to be spoken to as a server that shakes hands. */
  get unasked (): boolean { return this.#unasked }

  learn (era: Era): void {
    this.#known ??= era
    this.giveUp()
  }

  /** Lets one find out; the others get a promise that settles when that one has, or has failed. */
  wait (): Promise<void> | undefined {
    if (this.#asked) return new Promise(resolve => this.#waiting.push(resolve))
    this.#asked = true
    return undefined
  }

  /** The child that was to show it has failed, or has lost its client: the next may. */
  giveUp (): void {
    this.#asked = false
    // after the one that has found out: its child may be for all of them
    for (const resolve of this.#waiting.splice(0)) setImmediate(resolve)
  }

  /** The next child is, or is not, asked. */
  ask (again: boolean): void {
    this.#unasked = !again
  }
}

/**
 * What an answer to `server/discover` says of a server: modern, when it knows the method and speaks a modern revision, or
 * refuses in a way that only modern servers know. Everything else a legacy server may say too (2026-07-28, "stdio",
 * Backward Compatibility).
 */
export function eraOf ({ result, error }: Message): Era {
  const versions = result?.['supportedVersions'] ?? (error?.code === UNSUPPORTED_VERSION && isObject(error.data) ? error.data['supported'] : undefined)
  return Array.isArray(versions) && versions.some(version => (MODERN_REVISIONS as readonly unknown[]).includes(version)) ? 'modern' : 'legacy'
}
