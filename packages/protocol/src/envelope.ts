import { mcpError } from './errors.js'
import { scanObject, skipSpace, type Span } from './scan.js'

export type MessageKind = 'request' | 'notification' | 'response'

/** What a proxy has to know of a message: what it is, its method, and its id with the place where it stands. */
export interface Envelope {
  readonly kind: MessageKind
  readonly method?: string | undefined
  /** The id as JSON text in the form of {@link idKey}. */
  readonly rawId?: string | undefined
  readonly idSpan?: Span | undefined
}

/** From this size on the envelope of a response is looked for at both ends before the bytes between are scanned. */
const LARGE = 1024
/** Bytes at each end that hold the envelope as the SDKs write it. */
const EDGE = 96
const HEAD = /^\{"jsonrpc":"2\.0","id":(-?\d+|"[\w:.-]*"),"(?:result|error)":/
const HEAD_ID = '{"jsonrpc":"2.0","id":'.length
const TAIL = /,"jsonrpc":"2\.0","id":(-?\d+|"[\w:.-]*")\}$/

/** Reads the envelope of a line from a server; `undefined` when the line is not a JSON-RPC message. */
export function readEnvelope (line: Buffer): Envelope | undefined {
  return (line.length >= LARGE ? readEdges(line) : undefined) ?? scanEnvelope(line)
}

/** The id of a message of which only the two ends are known, because it was too large to keep. */
export function readEdges (head: Buffer, tail: Buffer = head): Envelope | undefined {
  const first = HEAD.exec(head.toString('latin1', 0, EDGE))?.[1]
  if (first !== undefined) return { kind: 'response', rawId: first, idSpan: { start: HEAD_ID, end: HEAD_ID + first.length } }
  // sound for valid JSON: the last brace closes the message, so the id before it is the message's own, and the last of its name
  if (head.toString('latin1', 0, 10) !== '{"result":') return undefined
  const last = TAIL.exec(tail.toString('latin1', Math.max(0, tail.length - EDGE)))?.[1]
  return last === undefined ? undefined : { kind: 'response', rawId: last, idSpan: { start: tail.length - 1 - last.length, end: tail.length - 1 } }
}

function scanEnvelope (line: Buffer): Envelope | undefined {
  let jsonrpc = false
  let method: string | undefined
  let id: string | undefined
  let idSpan: Span | undefined
  let answer = false
  const start = skipSpace(line, 0)
  const end = scanObject(line, start, (name, from, to) => {
    if (name === 'id') {
      id = line.toString('utf8', from, to)
      idSpan = { start: from, end: to }
    } else if (name === 'method') method = line.toString('utf8', from, to)
    else if (name === 'jsonrpc') jsonrpc = line.toString('latin1', from, to) === '"2.0"'
    else if (name === 'result' || name === 'error') answer = true
  })
  if (!jsonrpc || end === -1 || skipSpace(line, end) !== line.length) return undefined
  const rawId = id === undefined ? undefined : idKey(id)
  if (method !== undefined) {
    const name = parseString(method)
    if (name === undefined || (id !== undefined && rawId === undefined)) return undefined
    return rawId === undefined ? { kind: 'notification', method: name } : { kind: 'request', method: name, rawId, idSpan }
  }
  return answer ? { kind: 'response', rawId, idSpan } : undefined
}

/**
 * The envelope of a parsed message from a client.
 * @throws MCP_ERR_INVALID_REQUEST, with what is wrong
 */
export function judgeEnvelope (bytes: Buffer, json: unknown): Envelope {
  if (json === null || typeof json !== 'object' || Array.isArray(json)) throw invalid(`it is ${describe(json)}, not an object`)
  const { jsonrpc, id, method, params } = json as Record<string, unknown>
  if (jsonrpc !== '2.0') throw invalid(`"jsonrpc" is ${describe(jsonrpc)}, not "2.0"`)
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number') throw invalid(`"id" is ${describe(id)}, not a string or a number`)
  if (method !== undefined && typeof method !== 'string') throw invalid(`"method" is ${describe(method)}, not a string`)
  if (params !== undefined && (params === null || typeof params !== 'object' || Array.isArray(params))) throw invalid(`"params" is ${describe(params)}, not an object`)
  if (method === undefined) {
    if (id === undefined) throw invalid('it has neither "method" nor "id"')
    if (Object.hasOwn(json, 'result') === Object.hasOwn(json, 'error')) throw invalid('a response has one of "result" and "error"')
  }
  // JSON.parse takes the last of equal names, other parsers the first: such a message means two things at once
  const names = new Set<string>()
  let idSpan: Span | undefined
  scanObject(bytes, skipSpace(bytes, 0), (name, start, end) => {
    if (names.has(name)) throw invalid(`${describe(name)} stands twice`)
    names.add(name)
    if (name === 'id') idSpan = { start, end }
  })
  if (idSpan === undefined) return { kind: 'notification', method }
  const rawId = idKey(bytes.toString('utf8', idSpan.start, idSpan.end))
  return { kind: method === undefined ? 'response' : 'request', method, rawId, idSpan }
}

/**
 * The JSON text of an id or token in the one form it is compared in; `undefined` when it is neither string nor number.
 * `"\u0061"` and `"a"` are one id; `1` and `"1"` are two.
 */
export function idKey (raw: string): string | undefined {
  if (raw.startsWith('"')) {
    if (!raw.includes('\\')) return raw
    const value = parseString(raw)
    return value === undefined ? undefined : JSON.stringify(value)
  }
  return /^-?\d/.test(raw) ? raw : undefined
}

/** Replaces the bytes at some places, which must not overlap. */
export function splice (bytes: Buffer, places: ReadonlyArray<Span & { readonly text: string }>): Buffer {
  const parts: Buffer[] = []
  let at = 0
  for (const { start, end, text } of places.toSorted((a, b) => a.start - b.start)) {
    parts.push(bytes.subarray(at, start), Buffer.from(text))
    at = end
  }
  parts.push(bytes.subarray(at))
  return Buffer.concat(parts)
}

/** The elements of a JSON array that is known to be valid and to hold objects. */
export function splitArray (bytes: Buffer): Buffer[] {
  const parts: Buffer[] = []
  let at = skipSpace(bytes, skipSpace(bytes, 0) + 1)
  while (at < bytes.length && bytes[at] === 0x7b) {
    const end = scanObject(bytes, at, () => {})
    parts.push(bytes.subarray(at, end))
    at = skipSpace(bytes, skipSpace(bytes, end) + 1)
  }
  return parts
}

function parseString (raw: string): string | undefined {
  try {
    const value: unknown = JSON.parse(raw)
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

function invalid (reason: string): Error {
  return mcpError('MCP_ERR_INVALID_REQUEST', reason)
}

function describe (value: unknown): string {
  if (value === undefined) return 'missing'
  if (Array.isArray(value)) return 'an array'
  if (value !== null && typeof value === 'object') return 'an object'
  const text = JSON.stringify(value)
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}
