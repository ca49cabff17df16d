import type { IncomingMessage } from 'node:http'
import { INTERNAL_ERROR, isLegacyCode, isModernRevision, mcpError, toRpcError, type CodedError } from '@mcp-proxy/protocol'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'

/** Bodies over the limit are still read away, so that the client gets to see the answer; up to this many times the limit. */
const DRAIN_FACTOR = 8

/** Writes errors as JSON-RPC, with the id of the request where the body got as far as showing it. */
export function rpcErrorHandler (bodyLimit: number) {
  return function (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply | Promise<FastifyReply> {
    const coded = translate(error, request, bodyLimit)
    const status = coded.statusCode ?? 500
    if (status >= 500) request.log.error({ err: error }, 'MCP request failed')
    else request.log.info({ code: coded.code }, coded.message)
    if (status === 503) reply.header('retry-after', '1')
    // the text of an unknown error may tell about the inside of the app; what a hook throws may have no code at all
    const known = String(coded.code).startsWith('MCP_ERR_')
    const rpcError = status >= 500 && !known ? { code: INTERNAL_ERROR, message: 'Internal error' } : toRpcError(coded)
    const code = isModernRevision(request.headers['mcp-protocol-version']) && isLegacyCode(rpcError.code) ? INTERNAL_ERROR : rpcError.code
    const id = request.mcpRequestId === null ? '' : `"id":${request.mcpRequestId},`
    const send = (): FastifyReply => reply.code(status).type('application/json').send(`{"jsonrpc":"2.0",${id}"error":${JSON.stringify({ ...rpcError, code })}}`)
    return status === 413 ? keepConnection(request, reply, bodyLimit * DRAIN_FACTOR).then(send) : send()
  }
}

/** Lets a connection live on whose body is read away within the limit; Fastify closes it otherwise. */
async function keepConnection ({ headers, raw }: FastifyRequest, reply: FastifyReply, limit: number): Promise<void> {
  const length = headers['content-length']
  // of an announced length Node reads the rest behind the answer; of another it would do so for ever, and nobody would count
  const bounded = length === undefined ? await readAway(raw, limit) : Number(length) <= limit
  if (bounded) reply.removeHeader('connection')
}

/** Whether a body has ended before the limit. */
async function readAway (body: IncomingMessage, limit: number): Promise<boolean> {
  if (body.readableEnded) return true
  return await new Promise((resolve) => {
    let left = limit
    body.once('end', () => resolve(true)).once('close', () => resolve(false))
    body.on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left < 0) resolve(false)
    }).resume()
  })
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
