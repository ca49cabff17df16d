import {
  CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, LOG_LEVELS, LOG_LEVEL_KEY, PROTOCOL_VERSION_KEY,
  isLogLevel, isModernRevision, isObject, mcpError, metaOf, type Message
} from '@mcp-proxy/protocol'
import type { FastifyRequest } from 'fastify'
import { checkMirrors, checkVersionHeader } from './modern-headers.js'
import { unsupportedVersion } from './headers.js'

/**
 * Judges a request of a modern client by its `_meta` and by the headers that repeat it (2026-07-28, "Overview",
 * Per-request protocol fields; "Streamable HTTP", Server Validation). What is wrong first decides.
 * @throws MCP_ERR_META, MCP_ERR_HEADER_MISMATCH, MCP_ERR_VERSION, MCP_ERR_PARAMS
 */
export function checkModernRequest (request: FastifyRequest, message: Message): void {
  const meta = metaOf(message)
  const revision = meta[PROTOCOL_VERSION_KEY]
  if (typeof revision !== 'string') throw mcpError('MCP_ERR_META', `the string ${PROTOCOL_VERSION_KEY}`)
  if (!isObject(meta[CLIENT_CAPABILITIES_KEY])) throw mcpError('MCP_ERR_META', `the object ${CLIENT_CAPABILITIES_KEY}`)
  const info = meta[CLIENT_INFO_KEY]
  if (info !== undefined && !isObject(info)) throw mcpError('MCP_ERR_META', `an object as ${CLIENT_INFO_KEY}, or none,`)
  checkVersionHeader(request, revision)
  if (!isModernRevision(revision)) throw unsupportedVersion(revision)
  checkMirrors(request, message)
  const level = meta[LOG_LEVEL_KEY]
  if (level !== undefined && !isLogLevel(level)) throw mcpError('MCP_ERR_PARAMS', `${LOG_LEVEL_KEY} is none of ${LOG_LEVELS.join(', ')}`)
}
