import { ENVELOPE_KEYS, metaOf } from '../request-meta.js'
import type { Members } from '../members.js'
import type { Message } from '../message.js'

const NO_ENVELOPE: Members = Object.fromEntries(ENVELOPE_KEYS.map(name => [name, undefined]))
const NO_RETRY: Members = { inputResponses: undefined, requestState: undefined }
const NO_META: Members = { ...NO_RETRY, _meta: undefined }

/**
 * A modern client's request as a server knows it that shakes hands: without who asks and in which version (2026-07-28,
 * "Overview", `_meta`), and without what makes it a retry ("Multi Round-Trip Requests"). All else keeps its bytes.
 */
export function toLegacy (request: Message): Message {
  const { params } = request
  if (params === undefined) return request
  const names = Object.keys(metaOf(request))
  const others = names.filter(name => !ENVELOPE_KEYS.includes(name)).length
  const retry = Object.hasOwn(params, 'inputResponses') || Object.hasOwn(params, 'requestState')
  if (others === 0 && params['_meta'] !== undefined) return retry ? request.edit(['params'], NO_META) : request.withoutMeta()
  const bare = others === names.length ? request : request.edit(['params', '_meta'], NO_ENVELOPE)
  return retry ? bare.edit(['params'], NO_RETRY) : bare
}
