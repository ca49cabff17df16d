import { mcpError, type CodedError } from '@mcp-proxy/protocol'
import type { RemoteSettings } from './options.js'

/** Whether an error is one of the table, with words for the party. */
export function isCoded (error: unknown): error is CodedError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('MCP_ERR_')
}

/** What a party is told whose answer cannot come any more. */
export function endedError ({ name }: Pick<RemoteSettings, 'name'>, cause?: unknown): CodedError {
  return mcpError('MCP_ERR_REMOTE_ENDED', name, { cause })
}

/** What a party is told of whatever went wrong. */
export function toCoded (error: unknown, settings: Pick<RemoteSettings, 'name'>): CodedError {
  return isCoded(error) ? error : endedError(settings, error)
}
