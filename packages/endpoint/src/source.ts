import { mcpError, type Connect } from '@mcp-proxy/protocol'
import { remoteServer, type RemoteServerOptions } from '@mcp-proxy/remote'
import { createBridge, type StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import type { FastifyInstance } from 'fastify'
import type { EndpointOptions } from './options.js'

/**
 * What answers the clients of an endpoint: the option `connect`, the server at `url`, a server of its own for `command`,
 * or the `mcpBridge` of the instance.
 * @throws MCP_ERR_NO_SERVER, MCP_ERR_OPTION, MCP_ERR_COMMAND
 */
export function connectSource (fastify: FastifyInstance, options: EndpointOptions): Connect {
  if (options.connect !== undefined) return options.connect
  if (hasUrl(options)) {
    if (options.command !== undefined) throw mcpError('MCP_ERR_OPTION', 'url', 'missing where there is a "command"', 'given')
    const { url, headers, authProvider, requestTimeout, maxMessageBytes, upstreamEra } = options
    const remote = remoteServer({ url, headers, authProvider, requestTimeout, maxMessageBytes, era: upstreamEra, log: fastify.log })
    fastify.addHook('onClose', () => remote.close())
    return remote.connect
  }
  if (hasCommand(options)) {
    const bridge = createBridge(options, fastify.log)
    fastify.addHook('onClose', () => bridge.close())
    return bridge.connect
  }
  if (fastify.hasDecorator('mcpBridge')) return fastify.mcpBridge.connect
  throw mcpError('MCP_ERR_NO_SERVER')
}

function hasCommand (options: EndpointOptions): options is EndpointOptions & StdioBridgeOptions {
  return options.command !== undefined
}

function hasUrl (options: EndpointOptions): options is EndpointOptions & Pick<RemoteServerOptions, 'url'> {
  return options.url !== undefined
}
