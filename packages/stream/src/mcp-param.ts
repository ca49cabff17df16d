import { findSpan, foldName, isObject, scanObject, type Message } from '@mcp-proxy/protocol'
import type { FastifyRequest } from 'fastify'
import { decodeHeaderValue, singleHeader } from './header-value.js'

/** A parameter of a tool that calls repeat in a header (2026-07-28, "Streamable HTTP", Custom Headers from Tool Parameters). */
export interface ParamHeader {
  /** In lower case. */
  readonly name: string
  /** Names of members from `arguments` down to the value. */
  readonly path: readonly string[]
}

const ANNOTATION = 'x-mcp-header'
/** `1*tchar` (RFC 9110, 5.6.2). */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const TYPES: ReadonlySet<unknown> = new Set(['string', 'integer', 'boolean'])
/** Keywords whose values are data, in which the annotation is just a name. */
const DATA: ReadonlySet<string> = new Set(['const', 'default', 'enum', 'example', 'examples'])
/** Keywords whose values are schemas by names, which are the tool's own. */
const NAMED: ReadonlySet<string> = new Set(['properties', '$defs', 'definitions', 'patternProperties', 'dependentSchemas'])
/** Nobody nests so deep; a schema that does says nothing. */
const MAX_DEPTH = 100
const INTEGER = /^-?\d+(?:\.0+)?$/

/** The parameters that a schema wants in headers: none where one annotation is invalid, clients leave such a tool out. */
export function readParamHeaders (inputSchema: unknown): readonly ParamHeader[] {
  const found: ParamHeader[] = []
  if (!visit(inputSchema, [], found, 0)) return []
  return new Set(found.map(({ name }) => name)).size === found.length ? found : []
}

/** `path` is `undefined` where an annotation must not be. Returns whether all that were seen are valid. */
function visit (schema: unknown, path: readonly string[] | undefined, found: ParamHeader[], depth: number): boolean {
  if (depth > MAX_DEPTH) return false
  if (Array.isArray(schema)) return schema.every(item => visit(item, undefined, found, depth + 1))
  if (!isObject(schema)) return true
  if (Object.hasOwn(schema, ANNOTATION)) {
    const token = schema[ANNOTATION]
    if (path === undefined || path.length === 0 || typeof token !== 'string' || !TOKEN.test(token) || !TYPES.has(schema['type'])) return false
    found.push({ name: `mcp-param-${token.toLowerCase()}`, path })
  }
  return Object.entries(schema).every(([keyword, value]) => {
    if (DATA.has(keyword)) return true
    if (!NAMED.has(keyword) || !isObject(value)) return visit(value, undefined, found, depth + 1)
    const below = keyword === 'properties' ? path : undefined
    return Object.entries(value).every(([name, child]) => visit(child, below && [...below, name], found, depth + 1))
  })
}

/** What is wrong with the headers of a call; `undefined` when they repeat its arguments. Values are not told: what is told is logged. */
export function findParamMismatch (request: FastifyRequest, message: Message, params: readonly ParamHeader[]): string | undefined {
  for (const { name, path } of params) {
    const header = singleHeader(request, name)
    const value = valueAt(message.params?.['arguments'], path)
    const where = `params.arguments.${path.join('.')}`
    if (!isRepeatable(value)) {
      // null, or nothing, or what no header can say
      if (header !== undefined) return `the ${name} header repeats nothing, since ${where} has no such value`
      continue
    }
    if (header === undefined) return `the ${name} header is missing, which repeats ${where}`
    if (header === null) return `the ${name} header is repeated`
    const said = decodeHeaderValue(header)
    if (said === undefined) return `the ${name} header has invalid characters`
    if (!says(said, value)) return `the ${name} header does not match ${where}`
    if (!standsOnce(message, path)) return `${where} stands twice in the body`
  }
  return undefined
}

function isRepeatable (value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && (Number.isSafeInteger(value) || !Number.isInteger(value)))
}

function says (said: string, value: string | number | boolean): boolean {
  if (said === String(value)) return true
  return typeof value === 'number' && INTEGER.test(said) && Number(said) === value
}

function valueAt (value: unknown, path: readonly string[]): unknown {
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

/** A member of which there are two may be another to the server than the one that was compared. */
function standsOnce ({ bytes }: Message, path: readonly string[]): boolean {
  const whole = ['params', 'arguments', ...path]
  return whole.every((name, depth) => {
    const start = depth === 0 ? undefined : findSpan(bytes, whole.slice(0, depth))?.start
    const folded = foldName(name)
    let count = 0
    scanObject(bytes, start ?? 0, (member) => { if (foldName(member) === folded) count++ })
    return depth === 0 || count === 1
  })
}
