import { readOptions, type StdioBridgeOptions } from './options.js'
import { Pool, type ChildStatus } from './pool.js'
import type { Connect, FastifyBaseLogger } from '@mcp-proxy/protocol'

/** Child processes that run one stdio MCP server. */
export interface McpBridge {
  /** What the server is called in logs. */
  readonly name: string
  /** Joins a client to a child, which is started when the first message comes. */
  readonly connect: Connect
  /**
   * Starts a child now, to know early that it works.
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE
   */
  start: () => Promise<void>
  /** The children as they are now. */
  status: () => ChildStatus[]
  /** Ends all children. */
  close: () => Promise<void>
}

/**
 * A bridge off Fastify: whoever makes it closes it. Starts no child by itself.
 * @throws MCP_ERR_OPTION, MCP_ERR_COMMAND
 */
export function createBridge (options: StdioBridgeOptions, log: FastifyBaseLogger): McpBridge {
  const settings = readOptions(options)
  const pool = new Pool(settings, log)
  return {
    name: settings.name,
    connect: pool.connect,
    start: () => pool.start(),
    status: () => pool.status(),
    close: () => pool.close(),
  }
}
