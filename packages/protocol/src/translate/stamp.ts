import { isObject } from '../object.js'
import { CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, LOG_LEVEL_KEY, PROTOCOL_VERSION_KEY, SUBSCRIPTION_ID_KEY, metaOf } from '../request-meta.js'
import { LATEST_MODERN_REVISION } from '../revisions.js'
import { withholdTasks } from './withhold-tasks.js'
import type { Members } from '../members.js'
import type { Message, Path } from '../message.js'

/** How a client has introduced itself in its handshake, as JSON text. */
export interface Introduction {
  readonly clientInfo: string | undefined
  readonly capabilities: string
}

/** A client that never shook hands: it can be asked nothing. */
export const STRANGER: Introduction = { clientInfo: undefined, capabilities: '{}' }

const META: Path = ['params', '_meta']

export function introductionOf (initialize: Message): Introduction {
  return { clientInfo: objectAt(initialize, 'clientInfo'), capabilities: withholdTasks(objectAt(initialize, 'capabilities') ?? '{}') }
}

function objectAt (message: Message, name: string): string | undefined {
  return isObject(message.params?.[name]) ? message.raw(['params', name]) : undefined
}

/** The members of `_meta` that a request of 2026-07-28 has to carry ("Overview", Per-request protocol fields). */
export function stampsOf ({ clientInfo, capabilities }: Introduction, logLevel: string | undefined): Members {
  return {
    [PROTOCOL_VERSION_KEY]: JSON.stringify(LATEST_MODERN_REVISION),
    [CLIENT_INFO_KEY]: clientInfo,
    [CLIENT_CAPABILITIES_KEY]: capabilities,
    [LOG_LEVEL_KEY]: logLevel === undefined ? undefined : JSON.stringify(logLevel),
  }
}

/**
 * The request with these stamps, whatever it said under their names; all else keeps its bytes. `undefined` when its
 * `params` or `_meta` is no object: unstamped, a server of both eras would take it for a legacy one.
 */
export function stamp (request: Message, stamps: Members): Message | undefined {
  const stamped = request.edit(META, stamps)
  return stamped === request ? undefined : stamped
}

/** A notification of a subscription without the mark by which it was told apart; what is empty then vanishes. */
export function untag (notification: Message): Message {
  if (Object.keys(metaOf(notification)).length > 1) return notification.edit(META, { [SUBSCRIPTION_ID_KEY]: undefined })
  return Object.keys(notification.params ?? {}).length > 1 ? notification.edit(['params'], { _meta: undefined }) : notification.edit([], { params: undefined })
}
