import { setTimeout as wait } from 'node:timers/promises'
import { mcpError, type Era, type Message } from '@mcp-proxy/protocol'
import { DISCOVER, INITIALIZED, discoverParams } from './handshake.js'
import { eraOf } from './server-era.js'
import type { Hub } from './hub.js'

/** Shakes hands with the child, in the words of the bridge or of the one client it has. @throws MCP_ERR_CHILD_HANDSHAKE */
export async function initialize (hub: Hub, initializeParams: string): Promise<void> {
  accept(hub, await hub.own.call('initialize', initializeParams, hub.settings.startTimeout))
}

/** Asks a child that shakes no hands what it offers. @throws MCP_ERR_CHILD_HANDSHAKE */
export async function discover (hub: Hub): Promise<void> {
  const answer = await hub.own.call(DISCOVER, discoverParams(), hub.settings.startTimeout)
  if (answer.error !== undefined) throw mcpError('MCP_ERR_CHILD_HANDSHAKE', hub.settings.name, answer.error.message)
  hub.discoverAnswer = answer
  hub.introduced = true
}

/**
 * Finds out whether a child shakes hands, and does what it takes to make it ready. A child that says nothing to the
 * question is asked in the other way too: it may be slow to start, or silent to what it does not know (2026-07-28,
 * "stdio", Backward Compatibility).
 * @param initializeParams `undefined`: a client of the child's own will shake hands, if it is one that does
 */
export async function findEra (hub: Hub, initializeParams: string | undefined): Promise<Era> {
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

function accept (hub: Hub, answer: Message): void {
  if (answer.error !== undefined) throw mcpError('MCP_ERR_CHILD_HANDSHAKE', hub.settings.name, answer.error.message)
  hub.introduced = true
  hub.initializeAnswer = answer
  hub.send(INITIALIZED)
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
