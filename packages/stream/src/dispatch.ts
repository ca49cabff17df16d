import { isModernRevision, mcpError } from '@mcp-proxy/protocol'
import type { Handlers } from '@mcp-proxy/endpoint'
import type { FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import { readBody, type PostHandler } from './body.js'
import { isModernPost } from './classify.js'
import { PROTOCOL_VERSION, acceptedKinds, sessionIdOf } from './headers.js'

/** What legacy clients get: with sessions all three, without them only POST. */
export interface LegacyHandlers {
  readonly POST: PostHandler
  readonly GET?: SessionHandler
  readonly DELETE?: SessionHandler
}

type SessionHandler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply> | undefined

/** Both eras on one path: reads a POST once, and hands it to the one that it belongs to. */
export function dispatch ({ POST, GET, DELETE }: LegacyHandlers, modern: PostHandler): Handlers {
  return {
    ...(GET !== undefined && { GET: refuseModern(GET) }),
    POST: (request, reply) => {
      const kinds = acceptedKinds(request)
      const body = readBody(request)
      const handler = isModernPost(request, body) ? modern : POST
      handler(request, reply, { kinds, body })
    },
    ...(DELETE !== undefined && { DELETE: refuseModern(DELETE) }),
  }
}

/** Modern clients only post (2026-07-28, "Streamable HTTP", Earlier Streamable HTTP Revisions); who names a session is none. */
function refuseModern (handler: SessionHandler): RouteHandlerMethod {
  return (request, reply) => {
    if (isModernRevision(request.headers[PROTOCOL_VERSION]) && sessionIdOf(request) === undefined) {
      reply.header('allow', 'POST')
      throw mcpError('MCP_ERR_METHOD_NOT_ALLOWED', request.method, 'POST')
    }
    return handler(request, reply)
  }
}
