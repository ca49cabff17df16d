import { isObject } from './object.js'

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

/** The parameters that a tool's schema wants in headers; `undefined` where one annotation is invalid: clients leave such a tool out. */
export function readParamHeaders (inputSchema: unknown): readonly ParamHeader[] | undefined {
  const found: ParamHeader[] = []
  if (!visit(inputSchema, [], found, 0)) return undefined
  return new Set(found.map(({ name }) => name)).size === found.length ? found : undefined
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

/** What a header can repeat; `undefined` is `null`, nothing, and what no header can say. */
export function repeatableAt (value: unknown, path: readonly string[]): string | number | boolean | undefined {
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  if (typeof value === 'string' || typeof value === 'boolean') return value
  return typeof value === 'number' && (Number.isSafeInteger(value) || !Number.isInteger(value)) ? value : undefined
}
