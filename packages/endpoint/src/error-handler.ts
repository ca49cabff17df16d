import { mcpError, toRpcError, type CodedError } from '@mcp-proxy/protocol'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'

/** Bodies over the limit are still read away, so that the client gets to see the answer; up to this many times the limit. */
const DRAIN_FACTOR = 8

/** Writes errors as JSON-RPC, with the id of the request where the body got as far as showing it. */
export function rpcErrorHandler (bodyLimit: number) {
  return function (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const coded = translate(error, request, bodyLimit)
    const status = coded.statusCode ?? 500
    if (status >= 500) request.log.error({ err: error }, 'MCP request failed')
    else request.log.info({ code: coded.code }, coded.message)
    if (status === 413 && Number(request.headers['content-length'] ?? 0) <= bodyLimit * DRAIN_FACTOR) reply.removeHeader('connection')
    if (status === 503) reply.header('retry-after', '1')
    // the text of an unknown error may tell about the inside of the app; what a hook throws may have no code at all
    const known = String(coded.code).startsWith('MCP_ERR_')
    const rpcError = status >= 500 && !known ? { code: -32603, message: 'Internal error' } : toRpcError(coded)
    const id = request.mcpRequestId === null ? '' : `"id":${request.mcpRequestId},`
    return reply.code(status).type('application/json').send(`{"jsonrpc":"2.0",${id}"error":${JSON.stringify(rpcError)}}`)
  }
}

/** Fastify's own errors under the names of ours. */
function translate (error: FastifyError, request: FastifyRequest, bodyLimit: number): CodedError {
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_INVALID_CONTENT_TYPE':
      return mcpError('MCP_ERR_CONTENT_TYPE', JSON.stringify(request.headers['content-type'] ?? ''))
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return mcpError('MCP_ERR_BODY_TOO_LARGE', bodyLimit)
    default:
      return error
  }
}
