import fp from 'fastify-plugin'
import { mcpError } from '@mcp-proxy/protocol'
import type { FastifyInstance, FastifyPluginAsync, RouteHandlerMethod, RouteOptions } from 'fastify'
import { watchConnections } from './connections.js'
import { addCors, corsRules, hasCors } from './cors.js'
import { rpcErrorHandler } from './error-handler.js'
import { addGuards } from './guards.js'
import { readEndpointOptions, type EndpointOptions, type EndpointSettings } from './options.js'
import { originPolicy } from './origins.js'
import { writeDirectly } from './sse-body.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** JSON text of the id in the body, once it is known; errors carry it. */
    mcpRequestId: string | null
  }
  interface FastifyContextConfig {
    /** Marks the routes of MCP endpoints: authentication guards them, tooling finds them. */
    mcp?: true
  }
}

/** What @mcp-proxy/auth decorates when it guards the routes of endpoints that come after it. */
const GUARDS = 'mcpAuthGuards'

/** What happens with requests of one path, method by method. */
export type Handlers = Partial<Record<'GET' | 'POST' | 'DELETE', RouteHandlerMethod>>

/** Milliseconds of the longest timer that Node can set: 24 days. */
const MAX_TIMER = 2 ** 31 - 1
const ALL_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/**
 * An encapsulated part of the app in which MCP is spoken: bodies stay bytes, errors are JSON-RPC, CORS and guards apply.
 * Nothing of it reaches the routes of the app beside it.
 */
export class EndpointScope {
  readonly settings: EndpointSettings
  readonly #fastify: FastifyInstance
  readonly #options: EndpointOptions

  private constructor (fastify: FastifyInstance, options: EndpointOptions, settings: EndpointSettings) {
    this.#fastify = fastify
    this.#options = options
    this.settings = settings
  }

  /** @throws MCP_ERR_OPTION */
  static async open (fastify: FastifyInstance, options: EndpointOptions): Promise<EndpointScope> {
    const settings = readEndpointOptions(options)
    const foreignCors = hasCors(fastify)
    // hooks of the endpoint may be anything, a rate limit say: that they authenticate has to be said
    const asksForCredentials = options.authenticated ?? fastify.hasDecorator(GUARDS)
    const allowsOrigin = originPolicy(options.allowedOrigins ?? (asksForCredentials ? 'any' : 'local'))

    if (!fastify.hasRequestDecorator('mcpPrincipal')) fastify.decorateRequest('mcpPrincipal', null)
    if (!fastify.hasRequestDecorator('mcpRequestId')) fastify.decorateRequest('mcpRequestId', null)
    // JSON-RPC must not be touched by schemas and reviving parsers: `7` and `"7"` are different ids
    fastify.removeAllContentTypeParsers()
    fastify.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit: settings.bodyLimit }, (_request, body, done) => done(null, body))
    if (options.errorHandler !== false) fastify.setErrorHandler(typeof options.errorHandler === 'function' ? options.errorHandler : rpcErrorHandler(settings.bodyLimit))
    // before the guards, so that a browser can read why it was refused; and before authentication, which preflights lack
    if (options.cors !== false && !foreignCors) await addCors(fastify, allowsOrigin)
    watchConnections(fastify)
    addGuards(fastify, { allowedHosts: options.allowedHosts ?? [], allowsOrigin, foreignCors })
    if (!fastify.hasDecorator(GUARDS)) {
      fastify.addHook('onReady', async () => {
        if (fastify.hasDecorator(GUARDS)) throw mcpError('MCP_ERR_AUTH_ORDER')
      })
    }
    return new EndpointScope(fastify, options, settings)
  }

  /** Declares the routes of one path; methods without a handler are answered with 405. */
  route (url: string, handlers: Handlers): void {
    const { onRequest, preHandler, constraints, config, cors } = this.#options
    const methods = Object.keys(handlers)
    const allow = methods.join(', ')
    const shared: Omit<RouteOptions, 'method' | 'handler'> = {
      url,
      // a HEAD that runs the GET handler would open a stream that never ends
      exposeHeadRoute: false,
      // an event stream outlives any limit that the app sets for handlers; a route cannot say "none"
      ...(limitsHandlers(this.#fastify) && { handlerTimeout: MAX_TIMER }),
      logSerializers: { req: serializeRequest },
      ...(constraints !== undefined && { constraints }),
    }
    const rules = cors === false ? false : corsRules([...methods, 'OPTIONS'])
    for (const [method, handler] of Object.entries(handlers)) {
      this.#fastify.route({
        ...shared,
        method,
        handler,
        config: { ...config, mcp: true, cors: rules },
        bodyLimit: this.settings.bodyLimit,
        ...(method === 'GET' && { onSend: writeDirectly }),
        ...(onRequest !== undefined && { onRequest }),
        ...(preHandler !== undefined && { preHandler }),
      })
    }
    this.#fastify.route({
      ...shared,
      method: (cors === false ? [...ALL_METHODS, 'OPTIONS'] : ALL_METHODS).filter(method => !methods.includes(method)),
      config: { cors: rules },
      handler: (request, reply) => {
        reply.header('allow', allow)
        throw mcpError('MCP_ERR_METHOD_NOT_ALLOWED', request.method, allow)
      },
    })
    if (cors !== false) this.#fastify.route({ ...shared, method: 'OPTIONS', config: { cors: rules }, handler: (_request, reply) => reply.code(204).send() })
  }
}

/** Whether the app has set a time limit for all handlers; Fastify's types do not know the option yet. */
function limitsHandlers ({ initialConfig }: FastifyInstance): boolean {
  return 'handlerTimeout' in initialConfig && Number(initialConfig.handlerTimeout) > 0
}

/** The request as it is logged: without the query, which holds session ids. */
function serializeRequest (request: { method: string, url: string, host?: string, ip?: string }): Record<string, unknown> {
  return { method: request.method, url: request.url.split('?', 1)[0], host: request.host, remoteAddress: request.ip }
}

/** Makes an encapsulated plugin: `prefix` works, it can be registered several times, and the app keeps its own settings. */
export function endpointPlugin<Options extends EndpointOptions> (name: string, plugin: FastifyPluginAsync<Options>): FastifyPluginAsync<Options> {
  return fp(plugin, { name, fastify: '5.x', encapsulate: true })
}
