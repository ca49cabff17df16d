import { mcpError, type CodedError } from '../errors.js'
import { isObject } from '../object.js'

type Json = Readonly<Record<string, unknown>>

/** A capability of a client, as a path: its name, and the feature where the name alone does not do. */
export type Capability = readonly string[]

/**
 * The capability that a client must have declared to be asked this; `undefined` for what no server may ask
 * (2026-07-28, "Multi Round-Trip Requests", "Elicitation", "Sampling").
 */
export function capabilityFor (method: string, params: Json = {}): Capability | undefined {
  switch (method) {
    case 'elicitation/create':
      return ['elicitation', typeof params['mode'] === 'string' ? params['mode'] : 'form']
    case 'sampling/createMessage':
      return params['tools'] === undefined && params['toolChoice'] === undefined ? ['sampling'] : ['sampling', 'tools']
    case 'roots/list':
      return ['roots']
    default:
      return undefined
  }
}

export function declares (capabilities: Json, [name = '', detail]: Capability): boolean {
  const declared = own(capabilities, name)
  if (!isObject(declared)) return false
  if (detail === undefined || isObject(own(declared, detail))) return true
  // before there were two modes, a client said only that it can be asked ("Elicitation", Capabilities)
  return name === 'elicitation' && detail === 'form' && !Object.hasOwn(declared, 'form') && !Object.hasOwn(declared, 'url')
}

/** MCP_ERR_CAPABILITY that names what the client would have to declare. */
export function missingCapabilities (paths: readonly Capability[]): CodedError {
  const required = new Map<string, Set<string>>()
  for (const [name = '', ...details] of paths) {
    const known = required.get(name) ?? new Set()
    for (const detail of details) known.add(detail)
    required.set(name, known)
  }
  const requiredCapabilities = Object.fromEntries([...required].map(([name, details]) => [name, Object.fromEntries([...details].map(detail => [detail, {}]))]))
  const names = new Set(paths.map(path => path.join('.')))
  return Object.assign(mcpError('MCP_ERR_CAPABILITY', [...names].join(', ')), { data: { requiredCapabilities } })
}

function own (object: Json, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined
}
