import { IntroducedServers, isModernMessage, modernOverLegacy, checkInteger, checkMilliseconds, type Connect, type ConnectContext, type Connection, type FastifyBaseLogger, type Message, type Transport } from '@mcp-proxy/protocol'
import type { FastifyRequest } from 'fastify'
import { InProcessChanges } from './in-process-changes.js'
import { callTicker } from './in-process-calls.js'
import { InProcessSession, type InProcessSettings } from './in-process-session.js'
import type { SdkTransport } from './sdk-transport.js'

/** An MCP server as an object: `Server` or `McpServer` of the MCP SDK, v1 or v2, or anything that can be connected to a transport. */
export interface InProcessServer {
  connect (transport: SdkTransport): Promise<void>
  close? (): Promise<void>
}

/**
 * Makes the server for one client: called once for each session, and once for each request of a client without one.
 *
 * @param request the HTTP request that opened the session; `undefined` where there is none
 * @throws whatever it likes: an error with a `statusCode` below 500 is shown to the client, any other is logged
 */
export type CreateServer<S extends InProcessServer = InProcessServer> = (request: FastifyRequest | undefined) => S | Promise<S>

/** The same behind an endpoint, where every client comes with a request. */
export type CreateServerForRequest<S extends InProcessServer = InProcessServer> = (request: FastifyRequest) => S | Promise<S>

export interface InProcessOptions<S extends InProcessServer = InProcessServer> {
  /** What the server is called in logs and errors. @default 'in-process' */
  name?: string | undefined
  /** Milliseconds that `createServer` may take, and the handshake. @default 60_000 */
  startTimeout?: number | undefined
  /** Milliseconds until a call without an answer fails and is cancelled. `0` is never. @default 300_000 */
  requestTimeout?: number | undefined
  /** Calls that one client may have open; one more is refused. @default 1_000 */
  maxPendingCalls?: number | undefined
  /** Milliseconds that a call waits for the input of a client of 2026-07-28. @default 600_000 */
  parkTimeout?: number | undefined
  /** Calls that wait so; one more ends the oldest. @default 50 */
  maxParkedCalls?: number | undefined
  /** What the state is sealed with that such a client sends back with its input; any text. @default random bytes */
  stateKey?: string | undefined
  /** Called when a server has been connected; its client is heard when this has finished. */
  onConnect?: ((server: S) => void | Promise<void>) | undefined
  /** Called when a connection has ended, whatever ended it. */
  onClose?: ((server: S) => void | Promise<void>) | undefined
  /** @default nothing is logged that is about no client */
  log?: FastifyBaseLogger | undefined
}

export interface InProcess {
  /** Joins a client to a server of its own. */
  readonly connect: Connect
  /** Ends all servers; who still waits for an answer is told so. */
  readonly close: () => Promise<void>
}

export const DEFAULT_IN_PROCESS_NAME = 'in-process'

/**
 * Serves clients from servers in this process. A client that shakes hands has one for its session, whose ids it shares;
 * every request of another client has one by itself, made and shaken hands with for it.
 *
 * @throws MCP_ERR_OPTION
 */
export function inProcess<S extends InProcessServer> (createServer: CreateServer<S>, options: InProcessOptions<S> = {}): InProcess {
  const { name = DEFAULT_IN_PROCESS_NAME, onConnect, onClose, log, stateKey, parkTimeout, maxParkedCalls } = options
  const startTimeout = checkMilliseconds('startTimeout', options.startTimeout ?? 60_000, 1)
  const requestTimeout = checkMilliseconds('requestTimeout', options.requestTimeout ?? 300_000)
  const settings: InProcessSettings<S> = {
    name,
    startTimeout,
    requestTimeout,
    ticker: callTicker(startTimeout, requestTimeout),
    maxPendingCalls: checkInteger('maxPendingCalls', options.maxPendingCalls ?? 1_000, 1),
    createServer: context => createServer(requestOf(context)),
    onConnect,
    onClose,
  }
  const sessions = new Set<InProcessSession<S>>()
  const connectTo = (changes: InProcessChanges | undefined): Connect => (transport, context) => {
    const session = new InProcessSession(settings, transport, context, () => { sessions.delete(session) }, changes)
    sessions.add(session)
    return session
  }
  const connectLegacy = connectTo(undefined)
  // a server knows the request that it was made for: it must not serve another
  const introduced = new IntroducedServers(connectTo(new InProcessChanges()), { name, startTimeout, maxIdle: 0 })
  const connectModern = modernOverLegacy(introduced, { stateKey, parkTimeout, maxParkedCalls, log })

  const connect: Connect = (transport, context) => {
    if (context.era !== undefined) return context.era === 'modern' ? connectModern(transport, context) : connectLegacy(transport, context)
    return connectByFirst(transport, context, first => isModernMessage(first) ? connectModern : connectLegacy)
  }
  const close = async (): Promise<void> => {
    await connectModern.close()
    await introduced.close()
    await Promise.all([...sessions].map(session => session.stop()))
    settings.ticker.close()
  }
  return { connect, close }
}

/** Joins a party when its first message shows what it speaks. */
function connectByFirst (transport: Transport, context: ConnectContext, choose: (first: Message) => Connect): Connection {
  let connection: Connection | undefined
  transport.onmessage = (message) => {
    connection = choose(message)(transport, context)
    // it has been set anew by what answers from now on
    transport.onmessage?.(message)
  }
  return {
    close: async () => {
      if (connection === undefined) transport.onmessage = undefined
      await connection?.close()
    }
  }
}

/** Endpoints pass on the request of Fastify's, which the seam knows the headers of. */
function requestOf ({ request }: ConnectContext): FastifyRequest | undefined {
  return isFastifyRequest(request) ? request : undefined
}

function isFastifyRequest (request: ConnectContext['request']): request is FastifyRequest {
  return request !== undefined && 'raw' in request
}
