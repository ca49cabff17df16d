import { setTimeout as wait } from 'node:timers/promises'
import type { Era, Message } from '@mcp-proxy/protocol'
import { DISCOVER, discoverParams } from './handshake.js'
import { accept, initialize } from './introduction.js'
import { eraOf } from './server-era.js'
import type { Hub } from './hub.js'

/** Finds out by a first child whether a server shakes hands. */
export class EraProbe {
  readonly #hub: Hub
  readonly #respawn: () => boolean
  #asking = false

  /** @param respawn starts another child in place of one that has ended; `false` when none is wanted any more */
  constructor (hub: Hub, respawn: () => boolean) {
    this.#hub = hub
    this.#respawn = respawn
  }

  /** The child has been asked, and may end because it does not know the question. */
  get asking (): boolean { return this.#asking }

  /**
   * @param initializeParams of the handshake, as JSON text; `undefined`: a client of the child's own will shake hands
   * @throws MCP_ERR_CHILD_HANDSHAKE, MCP_ERR_CHILD_EXITED
   */
  async learn (initializeParams: string | undefined): Promise<void> {
    const { child: first, era, log } = this.#hub
    if (era.unasked) {
      await this.#assumeLegacy(initializeParams)
      return
    }
    try {
      this.#asking = true
      era.learn(await findEra(this.#hub, initializeParams))
      return
    } catch (error) {
      // some servers end at a request that they do not know: another child is spoken to as they know it
      if (this.#hub.child !== undefined || first?.pid === undefined) throw error
      this.#asking = false
      if (!this.#respawn()) throw error
    } finally {
      this.#asking = false
    }
    era.ask(false)
    log.info({ childPid: first.pid }, 'server ended at the question whether it shakes hands; it is started again')
    await this.#assumeLegacy(initializeParams)
  }

  /** Without a question; whether that was right shows when the handshake succeeds. */
  async #assumeLegacy (initializeParams: string | undefined): Promise<void> {
    const { era } = this.#hub
    if (initializeParams === undefined) return
    try {
      await initialize(this.#hub, initializeParams)
      era.learn('legacy')
    } catch (error) {
      // it answers, and does not shake hands: the next one is asked
      if (this.#hub.child !== undefined) era.ask(true)
      throw error
    }
  }
}

/**
 * Finds out whether a child shakes hands, and does what it takes to make it ready. A child that says nothing to the
 * question is asked in the other way too: it may be slow to start, or silent to what it does not know (2026-07-28,
 * "stdio", Backward Compatibility).
 * @param initializeParams `undefined`: a client of the child's own will shake hands, if it is one that does
 */
async function findEra (hub: Hub, initializeParams: string | undefined): Promise<Era> {
  const { own, settings } = hub
  const discovered = own.call(DISCOVER, discoverParams(), settings.startTimeout)
  const patience = Math.min(settings.probeTimeout, Math.ceil(settings.startTimeout / 2))
  const first = await answerWithin(discovered, patience)
  if (first !== undefined && isModern(hub, first)) return 'modern'
  if (initializeParams === undefined) return 'legacy'
  const answer = await own.call('initialize', initializeParams, settings.startTimeout)
  if (answer.error !== undefined) {
    // it had only been slow to answer
    const late = first ?? await answerWithin(discovered, patience)
    if (late !== undefined && isModern(hub, late)) return 'modern'
  }
  accept(hub, answer)
  return 'legacy'
}

function isModern (hub: Hub, answer: Message): boolean {
  if (eraOf(answer) !== 'modern') return false
  hub.discoverAnswer = answer
  hub.introduced = true
  return true
}

/** An answer, or `undefined` when there is none in time. Rejects when the child is lost. */
async function answerWithin (answer: Promise<Message>, timeout: number): Promise<Message | undefined> {
  const over = new AbortController()
  // it may be asked for again, or fail when nobody waits any more
  answer.catch(() => {})
  try {
    return await Promise.race([answer, wait(timeout, undefined, { signal: over.signal })])
  } finally {
    over.abort()
  }
}
