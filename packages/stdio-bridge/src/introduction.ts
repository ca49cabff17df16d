import { mcpError, mostVerbose, type CodedError, type Message } from '@mcp-proxy/protocol'
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

/** A child that replaces another learns what clients had told the first. */
export function restore ({ listens, modern, own, peers, subscriptions }: Hub): void {
  if (modern) {
    listens.reopen()
    return
  }
  const level = mostVerbose([...peers].map(peer => peer.logLevel))
  if (level !== undefined) own.tell('logging/setLevel', JSON.stringify({ level }))
  for (const uri of subscriptions.uris) own.tell('resources/subscribe', JSON.stringify({ uri }))
}

/** Why a child did not become ready, as its clients are told. */
export function handshakeError ({ settings: { name } }: Hub, cause: unknown): CodedError {
  return isCoded(cause) ? cause : mcpError('MCP_ERR_CHILD_HANDSHAKE', name, cause instanceof Error ? cause.message : String(cause), { cause })
}

function isCoded (error: unknown): error is CodedError {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('MCP_ERR_')
}
