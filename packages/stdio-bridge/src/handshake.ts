import { LATEST_LEGACY_REVISION, Message, isLegacyRevision } from '@mcp-proxy/protocol'

/** The name under which the bridge introduces itself to a server that many clients share. */
const CLIENT_INFO = { name: 'mcp-proxy', version: '0.1.0' }

export const INITIALIZED: Message = Message.notification('notifications/initialized')

/**
 * `initialize` parameters for a shared child, as JSON text. No client capabilities: what the server would ask for could
 * not be told apart between clients.
 */
export function sharedInitialize (): string {
  return JSON.stringify({ protocolVersion: LATEST_LEGACY_REVISION, capabilities: {}, clientInfo: CLIENT_INFO })
}

/**
 * The stored answer to `initialize`, for another client. The revision is negotiated per hop (2025-11-25, "Version
 * Negotiation"): the client gets the one it asked for where the proxy knows it.
 */
export function answerInitialize (stored: Message, request: Message): Message {
  const asked = request.params?.['protocolVersion']
  const revision = isLegacyRevision(asked) ? asked : LATEST_LEGACY_REVISION
  return stored.rewrite(request.rawId, [[['result', 'protocolVersion'], JSON.stringify(revision)]])
}

/** Capabilities that let a server ask the client something: only a child of the client's own can be answered. */
const CALLBACKS = ['sampling', 'elicitation', 'roots'] as const

export function declaresCallbacks (initialize: Message): boolean {
  const capabilities = initialize.params?.['capabilities']
  if (capabilities === null || typeof capabilities !== 'object') return false
  return CALLBACKS.some(name => Object.hasOwn(capabilities, name))
}
