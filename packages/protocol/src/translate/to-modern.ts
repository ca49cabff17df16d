import { INVALID_PARAMS, LEGACY_RESOURCE_NOT_FOUND } from '../json-rpc.js'
import { Message } from '../message.js'
import { SERVER_INFO_KEY } from '../request-meta.js'
import { SERVED_REVISIONS } from '../revisions.js'
import { findSpan, scanObject } from '../scan.js'
import { profileOf, type ServerProfile } from './server-profile.js'
import { membersText, type Members } from '../members.js'

/** Methods whose results say how long they hold (2026-07-28, "Caching", Cacheable Results). */
const CACHEABLE: ReadonlySet<string> = new Set(['server/discover', 'tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read'])

/**
 * A result or an error of a server that shakes hands, as a modern client expects it. Nothing is parsed, and what the
 * server has said itself stands.
 */
export function toModern (answer: Message, method: string, profile: ServerProfile): Message {
  if (answer.failed) return toModernError(answer)
  const { members, names, text } = CACHEABLE.has(method) ? profile.cacheable : profile.complete
  // results may be large, and mostly have none of these names anywhere
  for (const name of names) if (answer.bytes.indexOf(name) !== -1) return merge(answer, members, profile)
  return answer.prependToResult(text)
}

function merge (answer: Message, members: Members, { serverInfo }: ServerProfile): Message {
  const span = findSpan(answer.bytes, ['result'])
  const missing = new Map(Object.entries(members))
  if (span !== undefined) scanObject(answer.bytes, span.start, name => { missing.delete(name) })
  const named = missing.has('_meta') || serverInfo === undefined ? answer : answer.edit(['result', '_meta'], { [SERVER_INFO_KEY]: serverInfo })
  return named.prependToResult(membersText(Object.fromEntries(missing)))
}

function toModernError (answer: Message): Message {
  if (Number(answer.raw(['error', 'code'])) !== LEGACY_RESOURCE_NOT_FOUND) return answer
  return answer.rewrite(undefined, [[['error', 'code'], String(INVALID_PARAMS)]])
}

/**
 * The answer to `server/discover` (2026-07-28, "Discovery") of a server that has answered `initialize`.
 * @param rawId id of the request, as JSON text
 */
export function toDiscovery (rawId: string, initializeAnswer: Message): Message {
  const { serverInfo } = profileOf(initializeAnswer)
  const instructions = initializeAnswer.raw(['result', 'instructions'])
  const meta = serverInfo === undefined ? '' : `,"_meta":{${JSON.stringify(SERVER_INFO_KEY)}:${serverInfo}}`
  return Message.result(rawId, `{"resultType":"complete","supportedVersions":${JSON.stringify(SERVED_REVISIONS)}` +
    `,"capabilities":${rawCapabilities(initializeAnswer)}${instructions === undefined ? '' : `,"instructions":${instructions}`}` +
    `,"ttlMs":0,"cacheScope":"private"${meta}}`)
}

/** Without the tasks of 2025-11-25, which are not those of the extension that modern clients know. */
function rawCapabilities (initializeAnswer: Message): string {
  const path = ['result', 'capabilities']
  const tasks = initializeAnswer.raw([...path, 'tasks']) !== undefined
  return (tasks ? initializeAnswer.edit(path, { tasks: undefined }) : initializeAnswer).raw(path) ?? '{}'
}
