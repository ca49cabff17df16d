import { mcpError } from '@mcp-proxy/protocol'

/** Where a merged list goes on: the cursors of the servers that have more, by name. */
export type Places = ReadonlyMap<string, string>

/** A cursor for clients, which leave it as it is (2025-11-25, "Pagination"). */
export function writeCursor (places: Places): string {
  return Buffer.from(JSON.stringify([...places])).toString('base64url')
}

/** @throws MCP_ERR_PARAMS unless it is one of {@link writeCursor} */
export function readCursor (cursor: unknown): Places {
  try {
    const pairs: unknown = JSON.parse(Buffer.from(String(cursor), 'base64url').toString())
    if (Array.isArray(pairs) && pairs.every(isPair)) return new Map(pairs)
  } catch {
    // told below
  }
  throw mcpError('MCP_ERR_PARAMS', 'the cursor is none of this list')
}

function isPair (value: unknown): value is [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every(item => typeof item === 'string')
}
