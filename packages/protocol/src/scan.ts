import { knownName } from './names.js'

/**
 * Finds members of JSON objects in bytes without building values.
 *
 * The scanner trusts nested values to be well-formed: it counts brackets and skips strings. What must be valid JSON
 * (anything from a client) is parsed once besides. Strings, the bulk of large messages, are skipped at the speed of
 * `Buffer#indexOf`.
 */

/** Byte offsets of a JSON value: `start` inclusive, `end` exclusive. */
export interface Span { readonly start: number, readonly end: number }

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
/** Bytes of a string that are looked at one by one. */
const SHORT = 48

/**
 * Calls `visit` for each member of the object that starts at `start`, with its name and the span of its value.
 * Returns the offset behind the closing brace, or -1 when the bytes are not an object.
 * @param enter called before a value is scanned; may answer where it ends, if it has looked at it itself, or -1 to stop
 */
export function scanObject (
  bytes: Buffer,
  start: number,
  visit: (name: string, start: number, end: number) => void,
  enter?: (name: string, start: number) => number | undefined
): number {
  if (bytes[start] !== OPEN_BRACE) return -1
  let at = skipSpace(bytes, start + 1)
  if (bytes[at] === CLOSE_BRACE) return at + 1
  while (bytes[at] === QUOTE) {
    const nameEnd = skipString(bytes, at)
    if (nameEnd === -1) return -1
    const name = readName(bytes, at, nameEnd)
    at = skipSpace(bytes, nameEnd)
    if (bytes[at] !== COLON) return -1
    const valueStart = skipSpace(bytes, at + 1)
    const valueEnd = enter?.(name, valueStart) ?? skipValue(bytes, valueStart)
    if (valueEnd === -1) return -1
    visit(name, valueStart, valueEnd)
    at = skipSpace(bytes, valueEnd)
    if (bytes[at] === CLOSE_BRACE) return at + 1
    if (bytes[at] !== COMMA) return -1
    at = skipSpace(bytes, at + 1)
  }
  return -1
}

/**
 * The span of the value at a path of member names below the object at `start`. The last of equal names counts, as in `JSON.parse`.
 * @param depth names at the start of the path that lead to `start`
 */
export function findSpan (bytes: Buffer, path: readonly string[], start: number = skipSpace(bytes, 0), depth: number = 0): Span | undefined {
  let span: Span | undefined
  for (let at = depth; at < path.length; at++) {
    const wanted = path[at]
    span = undefined
    scanObject(bytes, start, (name, from, to) => { if (name === wanted) span = { start: from, end: to } })
    if (span === undefined) return undefined
    start = (span as Span).start
  }
  return span
}

/** Where the value of a member of the whole message starts. What comes behind its first occurrence is not looked at. */
export function findStart (bytes: Buffer, wanted: string): number | undefined {
  let found: number | undefined
  scanObject(bytes, skipSpace(bytes, 0), () => {}, (name, start) => {
    if (name !== wanted) return undefined
    found = start
    return -1
  })
  return found
}

export function skipSpace (bytes: Buffer, at: number): number {
  // space, tab, line feed, carriage return: the four that RFC 8259 allows
  for (let byte = bytes[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = bytes[++at]);
  return at
}

function skipString (bytes: Buffer, at: number): number {
  let from = at + 1
  // most strings are short, and end before a call of indexOf would begin
  for (const near = at + SHORT; from < near; from++) {
    const byte = bytes[from]
    if (byte === QUOTE) return from + 1
    if (byte === BACKSLASH) break
  }
  for (;;) {
    const quote = bytes.indexOf(QUOTE, from)
    if (quote === -1) return -1
    let slashes = 0
    while (bytes[quote - 1 - slashes] === BACKSLASH && quote - 1 - slashes > at) slashes++
    if (slashes % 2 === 0) return quote + 1
    from = quote + 1
  }
}

function skipValue (bytes: Buffer, at: number): number {
  const first = bytes[at]
  if (first === QUOTE) return skipString(bytes, at)
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return skipContainer(bytes, at)
  const start = at
  for (let byte = first; byte !== undefined && byte !== COMMA && byte !== CLOSE_BRACE && byte !== CLOSE_BRACKET && byte > 0x20; byte = bytes[++at]);
  return at === start ? -1 : at
}

function skipContainer (bytes: Buffer, at: number): number {
  let depth = 0
  while (at < bytes.length) {
    const byte = bytes[at]
    if (byte === QUOTE) {
      at = skipString(bytes, at)
      if (at === -1) return -1
      continue
    }
    at++
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
    else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) return at
  }
  return -1
}

function readName (bytes: Buffer, start: number, end: number): string {
  const known = knownName(bytes, start + 1, end - 1)
  if (known !== undefined) return known
  const raw = bytes.toString('utf8', start + 1, end - 1)
  // "\u0069d" is "id" too: names are compared as JSON.parse would read them
  if (!raw.includes('\\')) return raw
  try {
    return JSON.parse(bytes.toString('utf8', start, end)) as string
  } catch {
    return raw
  }
}
