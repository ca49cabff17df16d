import fp from 'fastify-plugin'
import { mcpError } from '@mcp-proxy/protocol'
import type {} from '@mcp-proxy/endpoint'
import type { FastifyPluginAsync, FastifyRequest, RouteOptions } from 'fastify'
import { findSecret } from './constant-time.js'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Checks the user id of a request and sets `request.mcpPrincipal`; for `@fastify/auth` and route hooks.
     * @throws MCP_ERR_UNAUTHORIZED
     */
    mcpVerifyUserId: (request: FastifyRequest) => Promise<void>
    /** The routes of MCP endpoints that come after are guarded. */
    mcpAuthGuards?: true
  }
}

/** Decides about a user id: `true` makes it the principal, a string names another, anything else refuses. */
export type VerifyUserId = (userId: string, request: FastifyRequest) => boolean | string | undefined | Promise<boolean | string | undefined>

export interface McpAuthOptions {
  /** Who is let in: one user id, several, or a function that decides. */
  userId: string | readonly string[] | VerifyUserId
  /** The header that carries the user id. @default 'x-user-id' */
  header?: string | undefined
  /**
   * When MCP routes are checked: `'preHandler'` after the body was read, `'onRequest'` before. `false` checks none and
   * leaves the decorator, for `@fastify/auth`. @default 'preHandler'
   */
  hook?: 'preHandler' | 'onRequest' | false | undefined
}

export const DEFAULT_HEADER = 'x-user-id'

const plugin: FastifyPluginAsync<McpAuthOptions> = async (fastify, options) => {
  const { hook = 'preHandler' } = options
  const header = (options.header ?? DEFAULT_HEADER).toLowerCase()
  const accept = readUserIds(options.userId)

  if (!fastify.hasRequestDecorator('mcpPrincipal')) fastify.decorateRequest('mcpPrincipal', null)
  const verify = async (request: FastifyRequest): Promise<void> => {
    const given = request.headers[header]
    const principal = typeof given === 'string' && given !== '' ? await accept(given, request) : undefined
    if (principal === undefined) throw mcpError('MCP_ERR_UNAUTHORIZED', header)
    request.mcpPrincipal = principal
  }
  fastify.decorate('mcpVerifyUserId', verify)

  if (hook === false) return
  fastify.decorate('mcpAuthGuards', true)
  // on the routes of MCP endpoints and on no other: the rest of the app has rules of its own. As a hook of the route it
  // runs behind those of the endpoint's scope, so that CORS headers are on a 401 too.
  fastify.addHook('onRoute', (route) => {
    if (route.config?.mcp === true) prepend(route, hook, verify)
  })
}

function readUserIds (userId: McpAuthOptions['userId']): (given: string, request: FastifyRequest) => Promise<string | undefined> {
  if (typeof userId === 'function') {
    return async (given, request) => {
      const verdict = await userId(given, request)
      return verdict === true ? given : typeof verdict === 'string' && verdict !== '' ? verdict : undefined
    }
  }
  // a variable of the environment that is not set gives undefined, whatever the type says
  const ids = typeof userId === 'string' ? [userId] : [...userId ?? []]
  // an empty id would let in whoever sends an empty header
  if (ids.length === 0 || ids.some(id => typeof id !== 'string' || id === '')) throw mcpError('MCP_ERR_OPTION', 'userId', 'one or more user ids that are not empty, or a function', ids.length === 0 ? 'none' : 'one that is empty')
  return async given => findSecret(given, ids)
}

function prepend (route: RouteOptions, hook: 'preHandler' | 'onRequest', verify: (request: FastifyRequest) => Promise<void>): void {
  const present = route[hook]
  const others = present === undefined ? [] : Array.isArray(present) ? present : [present]
  Object.assign(route, { [hook]: [verify, ...others] })
}

/** Asks MCP clients for a user id in a header. Register it before the endpoints. */
export const mcpAuth: FastifyPluginAsync<McpAuthOptions> = fp(plugin, { name: '@mcp-proxy/auth', fastify: '5.x' })
export default mcpAuth
export { findSecret } from './constant-time.js'
