import { mcpError } from '../errors.js'
import { isObject } from '../object.js'
import { CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY } from '../request-meta.js'
import { LATEST_LEGACY_REVISION, PROXY_INFO } from '../revisions.js'
import { canonicalJson } from './canonical.js'

/** A JSON object that has been read. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Characters of an introduction: children that know it are kept for a while, and it with them. */
const MAX_INTRODUCTION = 64 * 1024

/** What lets a server ask the client something. */
const CALLBACKS = ['elicitation', 'sampling', 'roots'] as const

/** Not the tasks of a handshake, which only 2025-11-25 has (2026-07-28: an extension). */
const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks'

/** What a request declares that its client can do. */
export function capabilitiesOf (meta: JsonObject): JsonObject {
  const capabilities = meta[CLIENT_CAPABILITIES_KEY]
  return isObject(capabilities) ? capabilities : {}
}

export function declaresCallback (capabilities: JsonObject): boolean {
  return CALLBACKS.some(name => isObject(capabilities[name]))
}

/**
 * Parameters of `initialize`, as JSON text, by which a server gets to know the client of a request. Equal clients have
 * equal texts. `undefined` when the client cannot be asked anything: any introduction will do then.
 * @throws MCP_ERR_PARAMS when it is too long
 */
export function introductionOf (meta: JsonObject): string | undefined {
  const declared = capabilitiesOf(meta)
  if (!declaresCallback(declared)) return undefined
  const { tasks: _, extensions, ...capabilities } = declared
  const { [TASKS_EXTENSION]: __, ...others } = isObject(extensions) ? extensions : {}
  const introduction = canonicalJson({
    protocolVersion: LATEST_LEGACY_REVISION,
    capabilities: Object.keys(others).length === 0 ? capabilities : { ...capabilities, extensions: others },
    clientInfo: readClientInfo(meta),
  })
  if (introduction.length <= MAX_INTRODUCTION) return introduction
  throw mcpError('MCP_ERR_PARAMS', `${CLIENT_INFO_KEY} and ${CLIENT_CAPABILITIES_KEY} have more than ${MAX_INTRODUCTION} characters`)
}

function readClientInfo (meta: JsonObject): JsonObject {
  const info = meta[CLIENT_INFO_KEY]
  return isObject(info) && typeof info['name'] === 'string' && typeof info['version'] === 'string' ? info : PROXY_INFO
}
