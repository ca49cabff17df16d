/** The MCP revisions, oldest first, and what differs between them for a proxy. */

/** Revisions that open with an `initialize` handshake. */
export const LEGACY_REVISIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'] as const

/** Revisions in which every request says by itself who asks, and in which version (2026-07-28, "Versioning"). */
export const MODERN_REVISIONS = ['2026-07-28'] as const

export type LegacyRevision = typeof LEGACY_REVISIONS[number]
export type ModernRevision = typeof MODERN_REVISIONS[number]

/** Whether a party shakes hands and lives in a session, or says in each request what it is. */
export type Era = 'legacy' | 'modern'

/** What the proxy offers to a server it shakes hands with, and to a client that asks for a revision it does not know. */
export const LATEST_LEGACY_REVISION: LegacyRevision = '2025-11-25'

/** What the proxy asks a server for that may be modern. */
export const LATEST_MODERN_REVISION: ModernRevision = '2026-07-28'

/** All that clients may speak, whatever the server behind the proxy does; the newest first. */
export const SERVED_REVISIONS: readonly string[] = [...MODERN_REVISIONS, ...[...LEGACY_REVISIONS].reverse()]

/** What a Streamable HTTP request without `MCP-Protocol-Version` speaks (2025-06-18, "Protocol Version Header"). */
export const ASSUMED_REVISION: LegacyRevision = '2025-03-26'

/** Only this revision has JSON-RPC batches on Streamable HTTP (added in 2025-03-26, removed in 2025-06-18). */
export const BATCH_REVISION: LegacyRevision = '2025-03-26'

/** From this revision on a stream starts with an event that has an id and empty data (2025-11-25, SEP-1699). */
export const PRIMING_SINCE: LegacyRevision = '2025-11-25'

export function isLegacyRevision (value: unknown): value is LegacyRevision {
  return (LEGACY_REVISIONS as readonly unknown[]).includes(value)
}

export function isModernRevision (value: unknown): value is ModernRevision {
  return (MODERN_REVISIONS as readonly unknown[]).includes(value)
}

/** The name under which the proxy introduces itself to a server that need not know the client. */
export const PROXY_INFO: Readonly<Record<'name' | 'version', string>> = { name: 'mcp-proxy', version: '0.1.0' }
