import { mcpError, type Connect } from '@mcp-proxy/protocol'
import type { RemoteServerOptions } from '@mcp-proxy/remote'
import { createBridge, type StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import type { FastifyInstance } from 'fastify'
import { inProcess, type CreateServerForRequest, type InProcessOptions, type InProcessServer } from './in-process.js'
import type { EndpointOptions } from './options.js'

/** What an endpoint knows of a server elsewhere. */
export type RemoteOptions = Pick<RemoteServerOptions, 'url' | 'headers' | 'authProvider'> & Pick<EndpointOptions, 'requestTimeout' | 'maxMessageBytes' | 'upstreamEra'>

/** Options of which each says what answers. */
const SOURCES = ['command', 'url', 'createServer', 'connect'] as const

/**
 * What answers the clients of an endpoint: the option `connect`, a server of its own for `command`, the server at `url`,
 * servers in the process for `createServer`, or the `mcpBridge` of the instance.
 * @throws MCP_ERR_NO_SERVER, MCP_ERR_OPTION, MCP_ERR_COMMAND
 */
export async function connectSource (fastify: FastifyInstance, options: EndpointOptions): Promise<Connect> {
  checkSources(options)
  if (options.connect !== undefined) return options.connect
  if (options.createServer !== undefined) return connectInProcess(fastify, options.createServer, options)
  if (hasUrl(options)) return await connectRemote(fastify, options)
  if (hasCommand(options)) {
    const bridge = createBridge(options, fastify.log)
    fastify.addHook('onClose', () => bridge.close())
    return bridge.connect
  }
  if (fastify.hasDecorator('mcpBridge')) return fastify.mcpBridge.connect
  throw mcpError('MCP_ERR_NO_SERVER')
}

/** Servers in the process, ended with the app. @throws MCP_ERR_OPTION */
export function connectInProcess<S extends InProcessServer> (fastify: FastifyInstance, createServer: CreateServerForRequest<S>, options: Omit<InProcessOptions<S>, 'log'>): Connect {
  if (typeof createServer !== 'function') throw mcpError('MCP_ERR_OPTION', 'createServer', 'a function', typeof createServer)
  const { connect, close } = inProcess((request) => {
    if (request === undefined) throw new TypeError('an endpoint has joined a client without its request')
    return createServer(request)
  }, { ...options, log: fastify.log })
  fastify.addHook('onClose', close)
  return connect
}

/** A server elsewhere, which the app lets go of when it closes. @throws MCP_ERR_OPTION */
export async function connectRemote (fastify: FastifyInstance, options: RemoteOptions): Promise<Connect> {
  // a sixth of all that is loaded, and most serve a command
  const { remoteServer } = await import('@mcp-proxy/remote')
  const { url, headers, authProvider, requestTimeout, maxMessageBytes, upstreamEra } = options
  const remote = remoteServer({ url, headers, authProvider, requestTimeout, maxMessageBytes, era: upstreamEra, log: fastify.log })
  fastify.addHook('onClose', () => remote.close())
  return remote.connect
}

/** @throws MCP_ERR_OPTION when more than one is given */
export function checkSources (options: { readonly [Name in typeof SOURCES[number]]?: EndpointOptions[Name] | undefined }): void {
  const given = SOURCES.filter(name => options[name] !== undefined)
  if (given.length > 1) throw mcpError('MCP_ERR_OPTION', given[0] as string, 'the only one that says what answers', `given with ${given.slice(1).join(' and ')}`)
}

function hasCommand (options: EndpointOptions): options is EndpointOptions & StdioBridgeOptions {
  return options.command !== undefined
}

function hasUrl (options: EndpointOptions): options is EndpointOptions & RemoteOptions {
  return options.url !== undefined
}
