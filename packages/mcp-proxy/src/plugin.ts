import fp from 'fastify-plugin'
import { mcpAuth, type McpAuthOptions } from '@mcp-proxy/auth'
import { mcpSse, type McpSseOptions } from '@mcp-proxy/sse'
import { mcpStdioBridge, type StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import { mcpStream, type McpStreamOptions } from '@mcp-proxy/stream'
import type { EndpointOptions } from '@mcp-proxy/endpoint'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'

/** One stdio server over both transports. */
export interface McpProxyOptions extends StdioBridgeOptions, Omit<EndpointOptions, keyof StdioBridgeOptions | 'connect' | 'url' | 'headers' | 'authProvider'> {
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
  const { command: _, ...endpoints } = options
  await fastify.register(mcpStdioBridge, options)
  await registerEndpoints(fastify, endpoints)
}

/** Registers authentication and both endpoints. */
export async function registerEndpoints (fastify: FastifyInstance, { sse, stream, userId, ...shared }: EndpointsOptions): Promise<void> {
  // before the body is read: what a stranger sends is not worth the memory
  if (userId !== undefined) await fastify.register(mcpAuth, { userId, hook: 'onRequest' })
  if (sse !== false) await fastify.register(mcpSse, { ...shared, ...sse })
  if (stream !== false) await fastify.register(mcpStream, { ...shared, ...stream })
}

/** The whole proxy as one plugin: bridge, authentication, SSE and stream. What the binary and the fastify-cli app run. */
export const mcpProxy: FastifyPluginAsync<McpProxyOptions> = fp(plugin, { name: 'mcp-proxy', fastify: '5.x' })
