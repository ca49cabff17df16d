import { readOptions, type StdioBridgeOptions } from './options.js'
import { BridgeEvents } from './events.js'
import { Pool } from './pool.js'
import type { ChildStatus } from './children.js'
import type { Connect, FastifyBaseLogger } from '@mcp-proxy/protocol'

/** A bridge at one moment. */
export interface BridgeStatus {
  readonly children: ChildStatus[]
  /** Clients that wait for a child. */
  readonly queued: number
}

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
  /** What happens to the children, as typed events; also published on the diagnostics channel `mcp-proxy:bridge`. */
  readonly events: BridgeEvents
  /** The children as they are now, and how many clients wait for one. */
  status: () => BridgeStatus
  /** Ends all children. */
  close: () => Promise<void>
}

/**
 * A bridge off Fastify: whoever makes it closes it. Starts no child by itself.
 * @throws MCP_ERR_OPTION, MCP_ERR_COMMAND
 */
export function createBridge (options: StdioBridgeOptions, log: FastifyBaseLogger): McpBridge {
  const settings = readOptions(options)
  const events = new BridgeEvents()
  const pool = new Pool(settings, log, events)
  return {
    name: settings.name,
    connect: pool.connect,
    start: () => pool.start(),
    events,
    status: () => ({ children: pool.status(), queued: pool.queued }),
    close: () => pool.close(),
  }
}
