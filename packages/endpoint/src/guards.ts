import { mcpError } from '@mcp-proxy/protocol'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isLoopbackName, type OriginPolicy } from './origins.js'

export interface GuardOptions {
  readonly allowedHosts: readonly string[] | 'any'
  readonly allowsOrigin: OriginPolicy
  /** The app answers CORS by itself: what it has let through is not refused here. */
  readonly foreignCors: boolean
}

/**
 * Refuses what DNS rebinding sends: a `Host` that is not this machine's on a loopback connection, and any `Origin` that
 * is not allowed (2025-11-25, "Streamable HTTP", Security Warning: MUST be 403).
 */
export function addGuards (scope: FastifyInstance, { allowedHosts, allowsOrigin, foreignCors }: GuardOptions): void {
  const names = new Set(allowedHosts === 'any' ? [] : allowedHosts.map(name => name.toLowerCase()))
  const servesHost = (host: string): boolean => isLoopbackName(host) || names.has(host.toLowerCase()) || names.has(host.toLowerCase().replace(/:\d*$/, ''))

  // mostly one request names the same host as the last
  let served: string | undefined
  const isForeign = (host: string): boolean => {
    if (host === served) return false
    if (!servesHost(host)) return true
    served = host
    return false
  }

  scope.addHook('onRequest', (request, reply, done) => {
    const { headers } = request
    const { origin } = headers
    // as HTTP/2 names it
    const host = headers.host ?? headers[':authority'] as string | undefined ?? ''
    if (allowedHosts !== 'any' && isForeign(host) && isLoopbackConnection(request)) {
      done(mcpError('MCP_ERR_HOST', JSON.stringify(host)))
    } else if (origin !== undefined && !allowsOrigin(origin) && !(foreignCors && isAdmitted(reply, origin))) {
      done(mcpError('MCP_ERR_ORIGIN', JSON.stringify(origin)))
    } else {
      done()
    }
  })
}

/** The app's CORS has answered: with this origin, or with any. It may as well have named the only one that it admits. */
function isAdmitted (reply: FastifyReply, origin: string): boolean {
  const admitted = reply.getHeader('access-control-allow-origin')
  return admitted === origin || admitted === '*'
}

function isLoopbackConnection (request: FastifyRequest): boolean {
  // no address: an injected request, which stands for a local one
  const address = request.raw.socket.localAddress
  return address === undefined || address === '::1' || /^(::ffff:)?127\./.test(address)
}
