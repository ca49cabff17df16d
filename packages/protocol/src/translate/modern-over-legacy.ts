import { BusySet } from '../busy.js'
import { checkInteger, checkMilliseconds } from '../errors.js'
import { ModernParty, type ModernDesk } from './modern-party.js'
import { ParkedCalls } from './parked-calls.js'
import { StateSeal } from './request-state.js'
import type { Connect } from '../transport.js'
import type { FastifyBaseLogger } from '../fastify.js'
import type { LegacySource } from './legacy-source.js'

/** Milliseconds that a call waits for its client to come back with answers. */
export const DEFAULT_PARK_TIMEOUT = 600_000
/** Calls that wait so. */
export const DEFAULT_MAX_PARKED_CALLS = 50
/** Milliseconds in which further questions of a server go into the same round. */
export const DEFAULT_GATHER = 25

export interface ModernOverLegacyOptions {
  /**
   * What states that clients carry are sealed with; any text or bytes that others cannot guess.
   * @default random: a state is of no use to another process, where its call is not anyway
   */
  readonly stateKey?: Buffer | string | undefined
  /** Stands readable before each state, with a dot behind it: tells which of several processes with one key holds the call. @default nothing does */
  readonly stateTag?: string | undefined
  /** Milliseconds that a call waits for its client to come back with what its server has asked for. @default 600_000 */
  readonly parkTimeout?: number | undefined
  /** Calls that may wait so; beyond, the user who has most of them loses the oldest. @default 50 */
  readonly maxParkedCalls?: number | undefined
  /** Milliseconds, from a server's first question on, in which others go into the same round. @default 25 */
  readonly gather?: number | undefined
  /** @default nothing is logged */
  readonly log?: FastifyBaseLogger | undefined
}

/** Answers clients of 2026-07-28; closing it ends what is open and parked. */
export type ModernOverLegacy = Connect & {
  readonly close: () => Promise<void>
  /** Ends a call that has waited for its client for that many milliseconds, so that its server is free; `false` when there is none. */
  readonly yield: (age: number) => boolean
}

/**
 * Puts servers that shake hands behind clients of 2026-07-28, which do not. What a server asks during a call becomes a
 * result that asks for input (2026-07-28, "Multi Round-Trip Requests"): the call waits on its server until its client
 * comes back with answers. So a tool runs once per call, however many rounds that takes.
 * @throws MCP_ERR_OPTION
 */
export function modernOverLegacy (source: LegacySource, options: ModernOverLegacyOptions = {}): ModernOverLegacy {
  const { stateKey, stateTag, parkTimeout = DEFAULT_PARK_TIMEOUT, maxParkedCalls = DEFAULT_MAX_PARKED_CALLS, gather = DEFAULT_GATHER, log } = options
  const desk: ModernDesk = {
    source,
    seal: new StateSeal(stateKey, stateTag),
    parked: new ParkedCalls({ max: checkInteger('maxParkedCalls', maxParkedCalls, 1), timeout: checkMilliseconds('parkTimeout', parkTimeout, 1), log }),
    gather: checkMilliseconds('gather', gather),
    parkTimeout,
    log,
  }
  const parties = new BusySet<ModernParty>()
  const connect: Connect = (transport, context) => {
    const party = new ModernParty(desk, transport, context, () => { parties.delete(party) })
    parties.add(party)
    return party
  }
  const close = async (): Promise<void> => {
    desk.parked.close()
    for (const party of [...parties]) party.stop()
  }
  return Object.assign(connect, { close, yield: (age: number) => desk.parked.yield(age) })
}
