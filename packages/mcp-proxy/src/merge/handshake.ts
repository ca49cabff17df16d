import { LATEST_LEGACY_REVISION, Message, PROXY_INFO, isLegacyRevision, isObject, mcpError, toRpcError } from '@mcp-proxy/protocol'
import type { Names } from './names.js'
import type { Upstream } from './upstream.js'

/**
 * One answer to `initialize` of those of all servers. They become ready with their capabilities; those that refuse, or
 * say nothing, do not.
 */
export function mergeHandshakes (id: string, answers: ReadonlyMap<Upstream, Message>, names: Names): Message {
  const instructions: string[] = []
  let revision: string | undefined
  let capabilities: Readonly<Record<string, unknown>> = {}
  for (const [server, answer] of answers) {
    const result = readResult(answer)
    if (result === undefined) continue
    server.ready = true
    server.capabilities = withoutTasks(isObject(result['capabilities']) ? result['capabilities'] : {})
    capabilities = merge(capabilities, server.capabilities)
    const { protocolVersion } = result
    // the newest of them: what an older server does not know it does not say either
    if (isLegacyRevision(protocolVersion) && (revision === undefined || protocolVersion > revision)) revision = protocolVersion
    const text = result['instructions']
    if (typeof text === 'string' && text !== '') instructions.push(`About the tools and prompts whose names begin with ${names.prefix(server.name)}:\n${text}`)
  }
  const refusal = [...answers.values()].find(answer => answer.failed)
  if (![...answers.keys()].some(server => server.ready)) return refusal ?? Message.error(id, toRpcError(mcpError('MCP_ERR_CHILD_HANDSHAKE', [...answers.keys()].map(({ name }) => name).join(', '), 'no server has answered')))
  return Message.result(id, JSON.stringify({
    protocolVersion: revision ?? LATEST_LEGACY_REVISION,
    capabilities,
    serverInfo: PROXY_INFO,
    ...(instructions.length > 0 && { instructions: instructions.join('\n\n') }),
  }))
}

/** The result of an answer; `undefined` where there is none. Answers of servers are not parsed before, and need not be JSON. */
export function readResult (answer: Message): Readonly<Record<string, unknown>> | undefined {
  if (answer.failed) return undefined
  try {
    return answer.result
  } catch {
    return undefined
  }
}

/** Why a server has not shaken hands, by its answer. */
export function reasonOf (answer: Message): string {
  try {
    return answer.error?.message ?? 'its answer is no result'
  } catch {
    return 'its answer is not JSON'
  }
}

/** A task lives on its server, and only its id says on which: that is not kept. */
function withoutTasks ({ tasks: _, ...capabilities }: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return capabilities
}

/** What at least one of two can do. */
function merge (one: Readonly<Record<string, unknown>>, other: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const merged = new Map(Object.entries(one))
  for (const [name, value] of Object.entries(other)) {
    const present = merged.get(name)
    merged.set(name, isObject(present) && isObject(value) ? merge(present, value) : present === undefined || present === false ? value : present)
  }
  return Object.fromEntries(merged)
}
