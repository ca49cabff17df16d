import { mcpError, type Message } from '@mcp-proxy/protocol'
import { DISCOVER, INITIALIZED, discoverParams } from './handshake.js'
import type { Hub } from './hub.js'

/** Shakes hands with the child, in the words of the bridge or of the one client it has. @throws MCP_ERR_CHILD_HANDSHAKE */
export async function initialize (hub: Hub, initializeParams: string): Promise<void> {
  accept(hub, await hub.own.call('initialize', initializeParams, hub.settings.startTimeout))
}

/** Asks a child that shakes no hands what it offers. @throws MCP_ERR_CHILD_HANDSHAKE */
export async function discover (hub: Hub): Promise<void> {
  const answer = await hub.own.call(DISCOVER, discoverParams(), hub.settings.startTimeout)
  if (answer.error !== undefined) throw mcpError('MCP_ERR_CHILD_HANDSHAKE', hub.settings.name, answer.error.message)
  hub.discoverAnswer = answer
  hub.introduced = true
}

/** Takes the answer of a child to a handshake. @throws MCP_ERR_CHILD_HANDSHAKE */
export function accept (hub: Hub, answer: Message): void {
  if (answer.error !== undefined) throw mcpError('MCP_ERR_CHILD_HANDSHAKE', hub.settings.name, answer.error.message)
  hub.introduced = true
  hub.initializeAnswer = answer
  hub.send(INITIALIZED)
}
