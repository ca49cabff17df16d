import { BATCH_REVISION, Message, mcpError } from '@mcp-proxy/protocol'
import type { FastifyRequest } from 'fastify'

/** The body of a POST: one message, or the batch that one revision has. */
export interface Body {
  readonly batch: boolean
  readonly requests: readonly Message[]
  /** Notifications, and responses to requests of the server. */
  readonly others: readonly Message[]
}

/**
 * Reads the body of a POST; errors from here on carry the id of its request.
 * @throws MCP_ERR_PARSE, MCP_ERR_INVALID_REQUEST, MCP_ERR_BATCH_INITIALIZE
 */
export function readBody (request: FastifyRequest): Body {
  const parsed = Message.parse(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0))
  if (Array.isArray(parsed)) {
    if (parsed.some(isInitialize)) throw mcpError('MCP_ERR_BATCH_INITIALIZE')
    return { batch: true, requests: parsed.filter(isRequest), others: parsed.filter(message => !isRequest(message)) }
  }
  if (!isRequest(parsed)) return { batch: false, requests: [], others: [parsed] }
  request.mcpRequestId = parsed.rawId ?? null
  return { batch: false, requests: [parsed], others: [] }
}

/** @throws MCP_ERR_BATCH for a revision without batches */
export function checkBatch (body: Body, revision: string): void {
  if (body.batch && revision !== BATCH_REVISION) throw mcpError('MCP_ERR_BATCH', revision)
}

export function isInitialize (message: Message): boolean {
  return message.method === 'initialize' && isRequest(message)
}

function isRequest (message: Message): boolean {
  return message.kind === 'request'
}
