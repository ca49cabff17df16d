import { BATCH_REVISION, Message, mcpError } from '@mcp-proxy/protocol'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Kinds } from './headers.js'

/** The body of a POST: one message, or the batch that one revision has. */
export interface Body {
  readonly batch: boolean
  /** All of it, in the client's order. */
  readonly messages: readonly Message[]
  readonly requests: readonly Message[]
}

/** A POST that was read, and what its client admits as an answer. */
export interface Post {
  readonly kinds: Kinds
  readonly body: Body
}

export type PostHandler = (request: FastifyRequest, reply: FastifyReply, post: Post) => void

/**
 * Reads the body of a POST; errors from here on carry the id of its request.
 * @throws MCP_ERR_PARSE, MCP_ERR_INVALID_REQUEST, MCP_ERR_BATCH_INITIALIZE, MCP_ERR_ID_IN_USE
 */
export function readBody (request: FastifyRequest): Body {
  const parsed = Message.parse(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0))
  if (Array.isArray(parsed)) {
    if (parsed.some(isInitialize)) throw mcpError('MCP_ERR_BATCH_INITIALIZE')
    const requests = parsed.filter(isRequest)
    const ids = new Set<string>()
    for (const { rawId } of requests) {
      if (ids.has(rawId as string)) throw mcpError('MCP_ERR_ID_IN_USE', rawId as string)
      ids.add(rawId as string)
    }
    return { batch: true, messages: parsed, requests }
  }
  if (!isRequest(parsed)) return { batch: false, messages: [parsed], requests: [] }
  request.mcpRequestId = parsed.rawId ?? null
  return { batch: false, messages: [parsed], requests: [parsed] }
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
