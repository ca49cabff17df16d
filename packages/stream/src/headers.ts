import { ASSUMED_REVISION, LEGACY_REVISIONS, SERVED_REVISIONS, isLegacyRevision, isModernRevision, mcpError, type CodedError } from '@mcp-proxy/protocol'
import { accepts } from '@mcp-proxy/endpoint'
import type { FastifyRequest } from 'fastify'

export const SESSION_ID = 'mcp-session-id'
export const PROTOCOL_VERSION = 'mcp-protocol-version'

/** What a client's `Accept` admits. */
export interface Kinds { readonly json: boolean, readonly stream: boolean }

/** What kinds of answer a POST admits. @throws MCP_ERR_ACCEPT when there is none */
export function acceptedKinds ({ headers: { accept } }: FastifyRequest): Kinds {
  // mostly one request admits the same as the last
  if (accept === last.accept) return last.kinds
  const json = accepts(accept, 'application/json')
  const stream = accepts(accept, 'text/event-stream')
  if (!json && !stream) throw mcpError('MCP_ERR_ACCEPT', 'application/json and text/event-stream', JSON.stringify(accept))
  last = { accept, kinds: { json, stream } }
  return last.kinds
}

let last: { readonly accept: string | undefined, readonly kinds: Kinds } = { accept: undefined, kinds: { json: true, stream: true } }

/** @throws MCP_ERR_ACCEPT */
export function checkAcceptsStream ({ headers: { accept } }: FastifyRequest): void {
  if (!accepts(accept, 'text/event-stream')) throw mcpError('MCP_ERR_ACCEPT', 'text/event-stream', JSON.stringify(accept))
}

/**
 * The revision that a request of a legacy client says it speaks (2025-11-25, "Protocol Version Header").
 * @throws MCP_ERR_VERSION
 */
export function requestRevision ({ headers }: FastifyRequest): string {
  const header = headers[PROTOCOL_VERSION]
  if (header === undefined) return ASSUMED_REVISION
  if (isLegacyRevision(header)) return header
  // a session is never modern
  throw unsupportedVersion(header, isModernRevision(header) ? LEGACY_REVISIONS : SERVED_REVISIONS)
}

/** Tells a client what it could speak instead (2026-07-28, "Versioning", Protocol Version Negotiation). */
export function unsupportedVersion (requested: unknown, supported: readonly string[] = SERVED_REVISIONS): CodedError {
  return Object.assign(mcpError('MCP_ERR_VERSION', JSON.stringify(requested)), { data: { supported, requested } })
}

/** The session id that a request names; `undefined` when it names none. */
export function sessionIdOf ({ headers }: FastifyRequest): string | undefined {
  const header = headers[SESSION_ID]
  return typeof header === 'string' ? header : undefined
}
