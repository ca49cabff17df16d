import { isObject } from './object.js'
import type { Message, Path } from './message.js'

/** Keys of `_meta` that revision 2026-07-28 reserves ("Overview", `_meta`). */
export const PROTOCOL_VERSION_KEY = 'io.modelcontextprotocol/protocolVersion'
export const CLIENT_INFO_KEY = 'io.modelcontextprotocol/clientInfo'
export const CLIENT_CAPABILITIES_KEY = 'io.modelcontextprotocol/clientCapabilities'
export const LOG_LEVEL_KEY = 'io.modelcontextprotocol/logLevel'
export const SERVER_INFO_KEY = 'io.modelcontextprotocol/serverInfo'
export const SUBSCRIPTION_ID_KEY = 'io.modelcontextprotocol/subscriptionId'

/** Keys that say who asks, and in which version: a modern client sends them with each request, a legacy one in its handshake. */
export const ENVELOPE_KEYS: readonly string[] = [PROTOCOL_VERSION_KEY, CLIENT_INFO_KEY, CLIENT_CAPABILITIES_KEY, LOG_LEVEL_KEY]

const META: Path = ['params', '_meta']

/** `params._meta` of a message; empty where there is none. */
export function metaOf (message: Message): Readonly<Record<string, unknown>> {
  const meta = message.value(META)
  return isObject(meta) ? meta : {}
}

/** Whether a message says by itself which version it speaks, as those of modern clients do. */
export function isModernMessage (message: Message): boolean {
  return Object.hasOwn(metaOf(message), PROTOCOL_VERSION_KEY)
}
