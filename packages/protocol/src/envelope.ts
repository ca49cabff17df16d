import { mcpError } from './errors.js'
import { KNOWN_NAMES } from './names.js'
import { scanObject, skipSpace, type Span } from './scan.js'

export type MessageKind = 'request' | 'notification' | 'response'

/** What a proxy has to know of a message: what it is, its method, and its id with the place where it stands. All are made alike: objects of one shape are read faster. */
export interface Envelope {
  readonly kind: MessageKind
  readonly method: string | undefined
  /** The id as JSON text in the form of {@link idKey}. */
  readonly rawId: string | undefined
  readonly idSpan: Span | undefined
  /** A response that says why there is no result. */
  readonly failed: boolean | undefined
  /** Where the value of `params` starts, of which there is one; `undefined` when that is not known. */
  readonly params: number | undefined
  /** Where the value of `params._meta` stands, of which there is one; `undefined` when that is not known, or there is none. */
  readonly meta: Span | undefined
}

/** From this size on the envelope of a response is looked for at both ends before the bytes between are scanned. */
const LARGE = 1024
/** Bytes at each end that hold the envelope as the SDKs write it. */
const EDGE = 96
const HEAD = /^\{"jsonrpc":"2\.0","id":(-?\d+|"[\w:.-]*"),"(result|error)":/
const HEAD_ID = '{"jsonrpc":"2.0","id":'.length
const TAIL = /,"jsonrpc":"2\.0","id":(-?\d+|"[\w:.-]*")\}$/

/** `"2.0"` */
const VERSION: readonly number[] = [...Buffer.from('"2.0"')]

/** Reads the envelope of a line from a server; `undefined` when the line is not a JSON-RPC message. */
export function readEnvelope (line: Buffer): Envelope | undefined {
  const whole = line[line.length - 1] === 0x7d // a line that was cut off is no message, however it starts
  return (whole && line.length >= LARGE ? readEdges(line) : undefined) ?? scanEnvelope(line)
}

/** The envelope of a large response, read at both ends as the SDKs write it. */
function readEdges (line: Buffer): Envelope | undefined {
  const [, first, answer] = HEAD.exec(line.toString('latin1', 0, EDGE)) ?? []
  if (first !== undefined) return { kind: 'response', method: undefined, rawId: first, idSpan: { start: HEAD_ID, end: HEAD_ID + first.length }, failed: answer === 'error', params: undefined, meta: undefined }
  // sound for valid JSON: the last brace closes the message, so the id before it is the message's own, and the last of its name
  if (line.toString('latin1', 0, 10) !== '{"result":') return undefined
  const last = TAIL.exec(line.toString('latin1', line.length - EDGE))?.[1]
  return last === undefined ? undefined : { kind: 'response', method: undefined, rawId: last, idSpan: { start: line.length - 1 - last.length, end: line.length - 1 }, failed: false, params: undefined, meta: undefined }
}

/** What can be told of a message of which only the two ends are known, because it was too large to keep. */
export function guessEnvelope (head: Buffer, tail: Buffer): { rawId: string | undefined, asks: boolean } {
  let id: string | undefined
  let asks = false
  // ends at the first value that is cut off
  scanObject(head, skipSpace(head, 0), (name, from, to) => {
    if (name === 'id') id = head.toString('utf8', from, to)
    else if (name === 'method') asks = true
  })
  id ??= /,\s*"id"\s*:\s*(-?\d+|"[\w:.-]*")\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}$/.exec(tail.toString('latin1'))?.[1]
  return { rawId: id === undefined ? undefined : idKey(id), asks }
}

function scanEnvelope (line: Buffer): Envelope | undefined {
  let jsonrpc = false
  let method: string | undefined
  let id: string | undefined
  let idSpan: Span | undefined
  let answer: string | undefined
  let params: number | undefined
  const start = skipSpace(line, 0)
  const end = scanObject(line, start, (name, from, to) => {
    if (name === 'id') {
      id = line.toString('utf8', from, to)
      idSpan = { start: from, end: to }
    } else if (name === 'method') method = line.toString('utf8', from, to)
    else if (name === 'params') params = from // the last of several counts
    else if (name === 'jsonrpc') jsonrpc = to - from === VERSION.length && VERSION.every((byte, at) => line[from + at] === byte)
    else if (name === 'result' || name === 'error') answer = name
  })
  if (!jsonrpc || end === -1 || skipSpace(line, end) !== line.length) return undefined
  const rawId = id === undefined ? undefined : idKey(id)
  if (method !== undefined) {
    const name = parseString(method)
    if (name === undefined || (id !== undefined && rawId === undefined)) return undefined
    return { kind: rawId === undefined ? 'notification' : 'request', method: name, rawId, idSpan, failed: undefined, params, meta: undefined }
  }
  return answer === undefined ? undefined : { kind: 'response', method: undefined, rawId, idSpan, failed: answer === 'error', params: undefined, meta: undefined }
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
  if (method !== undefined && (Object.hasOwn(json, 'result') || Object.hasOwn(json, 'error'))) throw invalid('it is a request and a response at once')
  if (method === undefined) {
    if (id === undefined) throw invalid('it has neither "method" nor "id"')
    if (Object.hasOwn(json, 'result') === Object.hasOwn(json, 'error')) throw invalid('a response has one of "result" and "error"')
  }
  let idSpan: Span | undefined
  let paramsStart: number | undefined
  let meta: Span | undefined
  checkNames(bytes, skipSpace(bytes, 0), ENVELOPE_NAMES, (name, start, end) => {
    if (name === 'id') idSpan = { start, end }
    else if (name === 'params') paramsStart = start
  }, (name, start) => name === 'params' ? checkParams(bytes, start, params ?? {}, method, (span) => { meta = span }) : undefined)
  if (idSpan === undefined) return { kind: 'notification', method, rawId: undefined, idSpan: undefined, failed: undefined, params: paramsStart, meta }
  const rawId = idKey(bytes.toString('utf8', idSpan.start, idSpan.end))
  return { kind: method === undefined ? 'response' : 'request', method, rawId, idSpan, failed: undefined, params: paramsStart, meta }
}

const folded: ReadonlyMap<string, string> = new Map(KNOWN_NAMES.map(name => [name, fold(name)]))

/** Names that the proxy reads or replaces, and children act on. */
const ENVELOPE_NAMES = foldAll('jsonrpc', 'id', 'method', 'params', 'result', 'error')
const PARAMS_NAMES = foldAll('_meta')
const CANCELLED_NAMES = foldAll('_meta', 'requestId')
const META_NAMES = foldAll('progressToken')

/** Ids and tokens below `params`: another client's must not be reached by a second spelling of them. Returns where `params` end, if it had to look. */
function checkParams (bytes: Buffer, start: number, params: object, method: string | undefined, onmeta: (span: Span) => void): number | undefined {
  const cancels = method === 'notifications/cancelled'
  if (!cancels && !Object.hasOwn(params, '_meta') && !Object.keys(params).some(name => name.length === 5 && foldName(name) === '_META')) return undefined
  return checkNames(bytes, start, cancels ? CANCELLED_NAMES : PARAMS_NAMES, (name, from, to) => { if (name === '_meta') onmeta({ start: from, end: to }) }, (name, from) =>
    name === '_meta' && bytes[from] === 0x7b ? checkNames(bytes, from, META_NAMES, () => {}) : undefined)
}

/**
 * Visits the members of an object, in which each of the names stands once and is spelled exactly. JSON.parse takes the
 * last of equal names, other parsers the first, and some do not tell upper from lower case: such a message means two
 * things at once. Returns where the object ends.
 */
function checkNames (bytes: Buffer, start: number, names: Names, visit: (name: string, start: number, end: number) => void, enter?: (name: string, start: number) => number | undefined): number {
  let seen = 0
  return scanObject(bytes, start, (name, from, to) => {
    const watched = names.get(name) ?? names.get(foldName(name))
    if (watched === undefined) return
    if (watched.name !== name) throw invalid(`${describe(name)} is not ${describe(watched.name)}`)
    if ((seen & watched.bit) !== 0) throw invalid(`${describe(name)} stands twice`)
    seen |= watched.bit
    visit(name, from, to)
  }, enter)
}

/** Names that are watched, each with a bit of its own to tell which have been seen. */
type Names = ReadonlyMap<string, { readonly name: string, readonly bit: number }>

/** Names by themselves, which is how they mostly come, and by how they look to a parser that ignores case. */
function foldAll (...names: string[]): Names {
  return new Map(names.flatMap((name, index) => {
    const watched = { name, bit: 1 << index }
    return [[name, watched], [foldName(name), watched]]
  }))
}

/** As parsers that ignore case see a name: the long s is an s, the Kelvin sign a k. */
export function foldName (name: string): string {
  return folded.get(name) ?? fold(name)
}

function fold (name: string): string {
  return name.toLowerCase().toUpperCase()
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
  if (/^-?\d+$/.test(raw)) return raw
  // some serializers write whole numbers as 5.0
  const number = /^-?\d/.test(raw) ? Number(raw) : NaN
  return Number.isSafeInteger(number) ? String(number) : Number.isNaN(number) ? undefined : raw
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
