import { mcpError, type CodedError } from '@mcp-proxy/protocol'
import { Restarts } from './restarts.js'
import type { Hub } from './hub.js'

/** Milliseconds after which a child that was up counts as one that worked. */
const STABLE = 60_000

/** When another child takes the place of one that was lost. */
export class Replacement {
  readonly #hub: Hub
  readonly #need: (delay: number) => void
  readonly #restarts: Restarts
  #timer: NodeJS.Timeout | undefined

  /** @param need starts another after so many milliseconds */
  constructor (hub: Hub, need: (delay: number) => void) {
    this.#hub = hub
    this.#need = need
    this.#restarts = new Restarts(hub.settings.restart)
  }

  /** Children lost so far. */
  get losses (): number { return this.#restarts.total }
  /** Why none is started now; `undefined` when one may be. */
  get refusal (): CodedError | undefined {
    const wait = this.#restarts.blockedFor(Date.now())
    if (wait === 0) return undefined
    const retryAfter = Math.ceil(wait / 1000)
    return Object.assign(mcpError('MCP_ERR_CHILD_UNAVAILABLE', this.#hub.settings.name, retryAfter), { retryAfter })
  }

  /** Milliseconds to wait before the next start: some of it is chance. */
  backOff (): number {
    return this.#restarts.backOff()
  }

  /** The child has answered somebody. */
  worked (): void {
    this.#restarts.worked()
  }

  /**
   * Counts a loss; `true` when it was one too many in a row.
   * @param startedAt `Date.now()` of the child's start
   */
  lost (startedAt: number): boolean {
    const now = Date.now()
    // rare losses of a server that has been up for long are not in a row
    if (now - startedAt > STABLE) this.#restarts.worked()
    return this.#restarts.lost(now)
  }

  /** Has another start, where somebody is there for whom. @param broken what {@link lost} has said */
  follow (broken: boolean): void {
    const { events, log, peers, settings } = this.#hub
    const { failures } = this.#restarts
    if (broken) {
      const { coolDown } = settings.restart
      log.error({ failures, coolDown }, 'server keeps ending; it is left alone for a while')
      events.report('breaker', { server: settings.name, failures, coolDown })
      // whoever only listens does not call: somebody has to look again
      this.after(coolDown, () => { if (peers.size > 0) this.#need(0) })
      this.#timer?.unref()
    } else if (peers.size > 0) {
      // sessions are open: their subscriptions and notifications need a child, also while nobody calls
      const delay = this.backOff()
      events.report('restart', { server: settings.name, failures, delay })
      this.#need(delay)
    }
  }

  /** Does something in so many milliseconds, unless {@link cancel} comes first. */
  after (delay: number, then: () => void): void {
    this.#timer = setTimeout(then, delay)
  }

  cancel (): void {
    clearTimeout(this.#timer)
  }
}
