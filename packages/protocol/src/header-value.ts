import { isUtf8 } from 'node:buffer'

/** What a value may consist of (2026-07-28, "Streamable HTTP", Value Encoding); Node hands on more than that. */
const PLAIN = /^[\t\x20-\x7e]*$/
const PREFIX = '=?base64?'
const SUFFIX = '?='

/**
 * What a header says whose value may be encoded as `=?base64?…?=`; the markers are compared exactly.
 * `undefined` when it has invalid characters, or holds no canonical Base64 of UTF-8.
 */
export function decodeHeaderValue (value: string): string | undefined {
  if (!PLAIN.test(value)) return undefined
  if (!isEncoded(value)) return value
  const text = value.slice(PREFIX.length, -SUFFIX.length)
  const bytes = Buffer.from(text, 'base64')
  // Node's decoder skips what is not Base64: written again it has to be the same
  return bytes.toString('base64') === text && isUtf8(bytes) ? bytes.toString() : undefined
}

/** The value of a header that says a text: encoded where it could not stand as it is, or would be taken for encoded. */
export function encodeHeaderValue (text: string): string {
  // parsers of HTTP take white space at the ends away
  const plain = PLAIN.test(text) && text === text.trim() && !isEncoded(text)
  return plain ? text : `${PREFIX}${Buffer.from(text).toString('base64')}${SUFFIX}`
}

/** The markers must not overlap. */
function isEncoded (value: string): boolean {
  return value.length >= PREFIX.length + SUFFIX.length && value.startsWith(PREFIX) && value.endsWith(SUFFIX)
}
