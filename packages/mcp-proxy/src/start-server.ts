import { checkPath, connectInProcess, type CreateServerForRequest, type EndpointOptions, type InProcessOptions, type InProcessServer } from '@mcp-proxy/endpoint'
import { mcpError, type Connect } from '@mcp-proxy/protocol'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import type { StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import { cutUnfinished } from './unfinished.js'
import { readVerdict, type Verdict } from './verdict.js'

/** Options of `startSSEServer` and `startHTTPStreamServer`; those of the endpoint apply too. */
export interface StartServerOptions<S extends InProcessServer = InProcessServer>
  extends Omit<EndpointOptions, keyof StdioBridgeOptions | 'connect' | 'createServer' | 'authenticated' | 'principal'>, Omit<InProcessOptions<S>, 'log'> {
  /** Where to listen; `0` takes a free port. */
  port: number
  /** The address to listen on. Beyond this machine, ask for a credential with `authenticate`. @default '127.0.0.1' */
  host?: string | undefined
  /** Makes the server for each client: a `Server` or `McpServer` of the MCP SDK, v1 or v2. It gets the request that opens the session. */
  createServer: CreateServerForRequest<S>
  /**
   * Decides about every request to the endpoint: what is refused is answered with 401. A string, or an object with a
   * `userId`, `id` or `sub`, names the user, to whom the sessions belong that are opened; `true` lets in and names nobody. An object whose `authenticated` is not
   * true refuses.
   * @default everybody is let in
   */
  authenticate?: ((request: FastifyRequest) => Verdict | Promise<Verdict>) | undefined
  /** Answers requests for other paths. @default 404 */
  onUnhandledRequest?: ((request: FastifyRequest, reply: FastifyReply) => unknown) | undefined
  /** Fastify's logger, or its options. @default false */
  logger?: FastifyServerOptions['logger'] | undefined
}

/** A server that listens. */
export interface StartedServer {
  /** The endpoint, with the port that was taken. */
  readonly url: string
  /** The app that serves it. */
  readonly app: FastifyInstance
  /** Ends sessions, their servers and the app. Harmless when called twice. */
  readonly close: () => Promise<void>
}

/** What an endpoint is registered with. */
export interface GuardedEndpoint {
  readonly options: EndpointOptions & { readonly connect: Connect }
  readonly path: string
}

/**
 * Starts an app with one endpoint in front of servers in the process.
 *
 * @param register adds the endpoint
 * @throws MCP_ERR_OPTION, and what listening fails with
 */
export async function startServer<S extends InProcessServer> (given: StartServerOptions<S>, path: string, register: (app: FastifyInstance, endpoint: GuardedEndpoint) => unknown): Promise<StartedServer> {
  const { port, host = '127.0.0.1', createServer, authenticate, onUnhandledRequest, logger = false, ...options } = given
  const app = Fastify({ logger, return503OnClosing: false })
  try {
    checkPath('endpoint', path)
    // Fastify would take any free one
    if (port === undefined) throw mcpError('MCP_ERR_OPTION', 'port', 'a port, 0 for any free one', 'undefined')
    const connect = connectInProcess(app, createServer, options)
    const { onRequest } = options
    const hooks = onRequest === undefined ? [] : [onRequest].flat()
    const guarded = authenticate === undefined ? options : { ...options, authenticated: true, onRequest: [guard(authenticate), ...hooks] }
    if (onUnhandledRequest !== undefined) app.setNotFoundHandler(async (request, reply) => await onUnhandledRequest(request, reply))
    await register(app, { options: { ...guarded, connect }, path })
    if (onUnhandledRequest === undefined) cutUnfinished(app, options.closeGrace)
    const address = await app.listen({ port, host })
    return { url: address + path, app, close: async () => { await app.close() } }
  } catch (error) {
    await app.close()
    throw error
  }
}

/** Asked before the body is read, of every method of the endpoint. */
function guard (authenticate: NonNullable<StartServerOptions['authenticate']>) {
  return async (request: FastifyRequest): Promise<void> => {
    const { accepted, principal } = readVerdict(await judge(authenticate, request))
    if (!accepted) throw mcpError('MCP_ERR_CREDENTIALS')
    request.mcpPrincipal = principal ?? null
  }
}

/** An error with a status says by itself how it is to be answered; after any other nobody is let in. */
async function judge (authenticate: NonNullable<StartServerOptions['authenticate']>, request: FastifyRequest): Promise<Verdict> {
  try {
    return await authenticate(request)
  } catch (err) {
    if (err instanceof Error && 'statusCode' in err) throw err
    request.log.warn({ err }, 'authenticate has failed')
    return false
  }
}
