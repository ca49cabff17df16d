import { mcpError, type CodedError } from '../errors.js'
import { Message } from '../message.js'
import { isObject } from '../object.js'
import { SERVER_INFO_KEY } from '../request-meta.js'
import { LATEST_LEGACY_REVISION, isLegacyRevision } from '../revisions.js'
import { withholdTasks } from './withhold-tasks.js'

/**
 * The answer to `initialize` that a server's answer to `server/discover` stands for. The revision is negotiated per hop
 * (2025-11-25, "Lifecycle", Version Negotiation): the client gets the one it asked for where the proxy knows it.
 * Capabilities, name and instructions keep their bytes; what an `InitializeResult` does not have is left out.
 *
 * @param discovered a successful answer
 * @param serverName what the server is called when it does not say
 * @throws MCP_ERR_CHILD_HANDSHAKE when the answer is no result of `server/discover`
 */
export function toInitializeResult (discovered: Message, initialize: Message, serverName: string): Message {
  const result = resultOf(discovered)
  if (!isObject(result?.['capabilities'])) throw notDiscovered(serverName)
  const asked = initialize.params?.['protocolVersion']
  const meta = result['_meta']
  const named = isObject(meta) && isObject(meta[SERVER_INFO_KEY])
  const members = [
    `"protocolVersion":"${isLegacyRevision(asked) ? asked : LATEST_LEGACY_REVISION}"`,
    `"capabilities":${withholdTasks(discovered.raw(['result', 'capabilities']) as string)}`,
    `"serverInfo":${named ? discovered.raw(['result', '_meta', SERVER_INFO_KEY]) as string : JSON.stringify({ name: serverName, version: 'unknown' })}`,
  ]
  if (typeof result['instructions'] === 'string') members.push(`"instructions":${discovered.raw(['result', 'instructions']) as string}`)
  return Message.result(initialize.rawId as string, `{${members.join(',')}}`)
}

/** What changes in the lists of a server it tells of, when it has answered `server/discover`. */
export function changingLists (discovered: Message): string[] {
  const capabilities = resultOf(discovered)?.['capabilities']
  if (!isObject(capabilities)) return []
  return ['tools', 'prompts', 'resources'].filter((kind) => {
    const offered = capabilities[kind]
    return isObject(offered) && offered['listChanged'] === true
  })
}

/** Answers of servers are not parsed when they are read: what looked like a message may be none. */
function resultOf (answer: Message): Readonly<Record<string, unknown>> | undefined {
  try {
    return isObject(answer.result) ? answer.result : undefined
  } catch {
    return undefined
  }
}

function notDiscovered (serverName: string): CodedError {
  return mcpError('MCP_ERR_CHILD_HANDSHAKE', serverName, 'it names no capabilities in its answer to server/discover')
}
