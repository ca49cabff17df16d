import { mcpError } from '../errors.js'
import { URL_ELICITATION_REQUIRED } from '../json-rpc.js'
import { isObject } from '../object.js'
import { keyFor, responseTo } from './input-requests.js'
import type { Capability } from './input-capabilities.js'
import type { Message } from '../message.js'

/** What it takes to send a client to a URL. */
export const URL_ELICITATION: Capability = ['elicitation', 'url']

/**
 * The URLs that a user has to visit before a call can work, which a server of 2025-11-25 says in an error ("Elicitation",
 * URL Elicitation Required Error): input requests by key, as JSON text. `undefined` for any other answer.
 */
export function readUrlElicitations (answer: Message): Map<string, string> | undefined {
  if (Number(answer.raw(['error', 'code'])) !== URL_ELICITATION_REQUIRED) return undefined
  const data = answer.error?.data
  const elicitations: unknown = isObject(data) ? data['elicitations'] : undefined
  if (!Array.isArray(elicitations) || elicitations.length === 0 || !elicitations.every(isObject)) return undefined
  return new Map(elicitations.map(({ elicitationId: _, ...params }, index) => [
    keyFor(URL_ELICITATION, index + 1),
    JSON.stringify({ method: 'elicitation/create', params: { ...params, mode: 'url' } }),
  ]))
}

/**
 * What a retry has left open of the URLs it was sent to: the call is worth another try when nothing is.
 * @throws MCP_ERR_INPUT when the user would not visit one
 */
export function unvisited (retry: Message, asked: Readonly<Record<string, string>>): Map<string, string> {
  const open = new Map<string, string>()
  for (const [key, text] of Object.entries(asked)) {
    const action = responseTo(retry, key)?.['action']
    if (action === undefined) open.set(key, text)
    else if (action !== 'accept') throw mcpError('MCP_ERR_INPUT', retry.method as string, `${key} was not accepted`)
  }
  return open
}
