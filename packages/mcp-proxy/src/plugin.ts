import fp from 'fastify-plugin'
import { mcpAuth, type McpAuthOptions } from '@mcp-proxy/auth'
import { mcpError } from '@mcp-proxy/protocol'
import { mcpSse, type McpSseOptions } from '@mcp-proxy/sse'
import { mcpStdioBridge, type StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import { mcpStream, type McpStreamOptions } from '@mcp-proxy/stream'
import { checkSources, connectInProcess, connectRemote, type EndpointOptions } from '@mcp-proxy/endpoint'
import type { Connect } from '@mcp-proxy/protocol'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'

/** One server over both transports: `command`, `url` or `createServer` says which. */
export interface McpProxyOptions extends Omit<StdioBridgeOptions, 'command'>, Omit<EndpointOptions, keyof StdioBridgeOptions | 'connect'> {
  /** The stdio server to run: a command line that is split without a shell, or program and arguments. */
  command?: StdioBridgeOptions['command'] | undefined
  /** Who is let in by the `x-user-id` header. @default everybody */
  userId?: McpAuthOptions['userId'] | undefined
  /** Options of the SSE endpoint alone; `false` serves none. */
  sse?: Pick<McpSseOptions, 'path' | 'messagesPath' | 'publicPrefix'> | false | undefined
  /** Options of the stream endpoint alone; `false` serves none. */
  stream?: Pick<McpStreamOptions, 'path' | 'stateless' | 'eventStore' | 'maxConnectionAge' | 'maxStreams' | 'retryInterval'> | false | undefined
}

/** The same without the server: what answers is the option `connect`, or the `mcpBridge` of the instance. */
export type EndpointsOptions = Omit<McpProxyOptions, 'command'> & Pick<EndpointOptions, 'connect'>

const plugin: FastifyPluginAsync<McpProxyOptions> = async (fastify, options) => {
  // without the command: the endpoints use the bridge
  const { command, createServer, url, headers, authProvider, ...rest } = options
  checkSources({ command, createServer, url })
  let connect: Connect | undefined
  if (command !== undefined) await fastify.register(mcpStdioBridge, { ...options, command })
  else if (createServer !== undefined) connect = connectInProcess(fastify, createServer, rest)
  else if (url !== undefined) connect = await connectRemote(fastify, { ...rest, url, headers, authProvider })
  else if (!fastify.hasDecorator('mcpBridge')) throw mcpError('MCP_ERR_NO_SERVER')
  await registerEndpoints(fastify, { ...rest, connect })
}

/** Registers authentication and both endpoints. */
export async function registerEndpoints (fastify: FastifyInstance, { sse, stream, userId, ...shared }: EndpointsOptions): Promise<void> {
  // before the body is read: what a stranger sends is not worth the memory
  if (userId !== undefined) await fastify.register(mcpAuth, { userId, hook: 'onRequest' })
  if (sse !== false) await fastify.register(mcpSse, { ...shared, ...sse })
  if (stream !== false) await fastify.register(mcpStream, { ...shared, ...stream })
}

/** The whole proxy as one plugin: bridge or servers in the process, authentication, SSE and stream. What the binary and the fastify-cli app run. */
export const mcpProxy: FastifyPluginAsync<McpProxyOptions> = fp(plugin, { name: 'mcp-proxy', fastify: '5.x' })
