import type { CodedError } from '@mcp-proxy/protocol'

/** Whether an error is one of the table, with words for the party. */
export function isCoded (error: unknown): error is CodedError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('MCP_ERR_')
}
