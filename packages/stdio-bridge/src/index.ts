import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { createBridge, type McpBridge } from './bridge.js'
import type { StdioBridgeOptions } from './options.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** The stdio MCP server that the endpoints of this instance share. */
    mcpBridge: McpBridge
  }
}

const plugin: FastifyPluginAsync<StdioBridgeOptions> = async (fastify, options) => {
  const bridge = createBridge(options, fastify.log)
  fastify.decorate('mcpBridge', bridge)
  // children are started by the first message, never here: a boot that fails later must leave no process behind
  fastify.addHook('onClose', () => bridge.close())
}

/** Runs a stdio MCP server for the MCP endpoints registered beside or below it. */
export const mcpStdioBridge: FastifyPluginAsync<StdioBridgeOptions> = fp(plugin, { name: '@mcp-proxy/stdio-bridge', fastify: '5.x' })
export default mcpStdioBridge

export { createBridge, type BridgeStatus, type McpBridge } from './bridge.js'
export { DIAGNOSTICS_CHANNEL, type BridgeEventMap, type BridgeEvents } from './events.js'
export { splitCommandLine } from './command-line.js'
export { LineReader, type LineHandler } from './line-reader.js'
export { SAFE_VARIABLES } from './environment.js'
export {
  DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_REQUEST_TIMEOUT, DEFAULT_START_TIMEOUT, DEFAULT_STOP_TIMEOUT, ISOLATIONS,
  type ChildEnv, type EnvironmentPolicy, type Isolation, type IsolationKey, type UpstreamEra, type StdioBridgeOptions, type WarmOptions
} from './options.js'
export type { ChildStatus } from './children.js'
export type { RestartPolicy } from './restarts.js'
