import { isLegacyRevision, isModernMessage, isModernRevision } from '@mcp-proxy/protocol'
import type { FastifyRequest } from 'fastify'
import type { Body } from './body.js'
import { PROTOCOL_VERSION } from './headers.js'

/**
 * Whether a POST is one of a modern client (2026-07-28, "Versioning", Backward Compatibility): its header says so, or its
 * message says in `_meta` which revision it speaks. `Mcp-Method` says nothing, clients send it with a legacy handshake too.
 */
export function isModernPost ({ headers }: FastifyRequest, { batch, messages }: Body): boolean {
  const header = headers[PROTOCOL_VERSION]
  if (isModernRevision(header)) return true
  const [message] = messages
  if (batch || message === undefined || !isModernMessage(message)) return false
  // a handshake is legacy, unless it claims otherwise in a header too
  return message.method !== 'initialize' || !(header === undefined || isLegacyRevision(header))
}
