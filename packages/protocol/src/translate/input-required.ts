import { mcpError, type CodedError } from '../errors.js'
import { isObject } from '../object.js'
import { capabilityFor } from './input-capabilities.js'
import { membersOf, textAt } from './raw-json.js'
import type { Message } from '../message.js'

/** Things that a server may ask for at once. */
export const MAX_INPUT_REQUESTS = 100

/** One thing that a server asks a client for while it serves a call. */
export interface InputRequest {
  /** What the server calls it. */
  readonly key: string
  readonly method: string
  /** JSON text. */
  readonly params: string
  /** The capability that it takes, as a path. */
  readonly capability: readonly string[]
  /** Where the user is sent; `undefined` when this is no elicitation by URL. */
  readonly url: string | undefined
}

/** What a server wants before it goes on with a call (2026-07-28, "Multi Round-Trip Requests", InputRequiredResult). */
export interface InputRequired {
  readonly requests: readonly InputRequest[]
  /** JSON text of what has to be sent back as it is; `undefined` where there is nothing. */
  readonly state: string | undefined
}

const INPUT_REQUIRED = '"input_required"'

/** Whether an answer is no answer yet. Nearly all are seen not to be without a look at their members. */
export function asksForInput (answer: Message): boolean {
  return answer.bytes.includes(INPUT_REQUIRED) && !answer.failed && answer.raw(['result', 'resultType']) === INPUT_REQUIRED
}

/**
 * What is asked for in an answer of which that is known.
 * @param method of the call, for the error
 * @throws MCP_ERR_INPUT when it cannot be made out
 */
export function readInputRequired (answer: Message, method: string): InputRequired {
  const wrong = (reason: string): CodedError => mcpError('MCP_ERR_INPUT', method, reason)
  let result: Readonly<Record<string, unknown>>
  try {
    result = answer.result ?? {}
  } catch (cause) {
    throw mcpError('MCP_ERR_INPUT', method, 'its words are not JSON', { cause })
  }
  const state = typeof result['requestState'] === 'string' ? answer.raw(['result', 'requestState']) : undefined
  const asked = result['inputRequests'] ?? {}
  if (!isObject(asked)) throw wrong('"inputRequests" is no object')
  const texts = membersOf(answer.raw(['result', 'inputRequests']) ?? '')
  if (texts.size === 0 && state === undefined) throw wrong('it does not say which')
  if (texts.size > MAX_INPUT_REQUESTS) throw wrong(`it asks for ${texts.size} things at once, more than ${MAX_INPUT_REQUESTS}`)
  const requests = [...texts].map(([key, text]): InputRequest => {
    const request = asked[key]
    const { method, params = {} } = isObject(request) ? request : {}
    if (typeof method !== 'string' || !isObject(params)) throw wrong(`${JSON.stringify(key)} is no request`)
    const capability = capabilityFor(method, params)
    if (capability === undefined) throw wrong(`${JSON.stringify(method)} is not a request for input`)
    const url = capability[1] === 'url' ? String(params['url']) : undefined
    return { key, method, params: textAt(text, ['params']) ?? '{}', capability, url }
  })
  return { requests, state }
}
