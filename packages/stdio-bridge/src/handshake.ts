import { CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, LATEST_LEGACY_REVISION, LATEST_MODERN_REVISION, METHOD_NOT_FOUND, Message, PROTOCOL_VERSION_KEY, PROXY_INFO, isLegacyRevision } from '@mcp-proxy/protocol'

export const INITIALIZED: Message = Message.notification('notifications/initialized')

/**
 * `initialize` parameters for a shared child, as JSON text. No client capabilities: what the server would ask for could
 * not be told apart between clients.
 */
export function sharedInitialize (): string {
  return JSON.stringify({ protocolVersion: LATEST_LEGACY_REVISION, capabilities: {}, clientInfo: PROXY_INFO })
}

/** Parameters of `server/discover`, as JSON text: the bridge itself asks. */
export function discoverParams (): string {
  return JSON.stringify({
    _meta: { [PROTOCOL_VERSION_KEY]: LATEST_MODERN_REVISION, [CLIENT_INFO_KEY]: PROXY_INFO, [CLIENT_CAPABILITIES_KEY]: {} }
  })
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

/** The first request of clients that also speak the revision without sessions (2026-07-28). */
export const DISCOVER = 'server/discover'

/**
 * Answers what a client may ask before it shakes hands, and what says nothing about the child that it needs: a ping
 * (2025-11-25, "Lifecycle"), and the search for a revision without sessions, which a legacy child must not answer in our stead.
 */
export function answerBeforeHandshake ({ kind, method, rawId }: Message): Message | undefined {
  if (kind !== 'request' || rawId === undefined) return undefined
  if (method === 'ping') return Message.result(rawId, '{}')
  if (method === DISCOVER) return Message.error(rawId, { code: METHOD_NOT_FOUND, message: `Method not found: ${DISCOVER}` })
  return undefined
}
