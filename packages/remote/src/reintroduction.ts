import { Message, mcpError, type CodedError } from '@mcp-proxy/protocol'
import { endedError } from './coded.js'
import { changes, type SessionMemory } from './session-memory.js'
import type { RemoteSettings } from './options.js'

export interface ReintroductionOptions {
  readonly memory: SessionMemory
  readonly settings: RemoteSettings
  /** Asks the server something that the party has not asked. @throws CodedError */
  readonly ask: (make: (rawId: string) => Message) => Promise<Message>
  readonly tell: (message: Message) => Promise<void>
}

/**
 * Says to a server what it knew of a party in a session that is lost: its handshake, log level and subscriptions.
 * Resolves with what the party is to be told: lists may have changed.
 * @throws CodedError
 */
export async function reintroduce ({ memory, settings, ask, tell }: ReintroductionOptions): Promise<Message[]> {
  const { initialize } = memory
  if (initialize === undefined) throw endedError(settings)
  const answer = await ask(rawId => initialize.rewrite(rawId))
  if (answer.failed) throw refused(settings)
  await tell(Message.notification('notifications/initialized'))
  for (const request of memory.repeat()) await ask(rawId => request.rewrite(rawId)).catch(() => {})
  return changes(answer)
}

function refused ({ name }: RemoteSettings): CodedError {
  return mcpError('MCP_ERR_REMOTE_PROTOCOL', name, 'it refuses another session')
}
