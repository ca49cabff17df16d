import { isUtf8 } from 'node:buffer'
import type { FastifyRequest } from 'fastify'

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
  // the markers must not overlap
  if (value.length < PREFIX.length + SUFFIX.length || !value.startsWith(PREFIX) || !value.endsWith(SUFFIX)) return value
  const text = value.slice(PREFIX.length, -SUFFIX.length)
  const bytes = Buffer.from(text, 'base64')
  // Node's decoder skips what is not Base64: written again it has to be the same
  return bytes.toString('base64') === text && isUtf8(bytes) ? bytes.toString() : undefined
}

/**
 * The value of a header that must not be repeated: Node joins several with a comma, which a proxy in front may not do.
 * `null` when it is repeated, `undefined` when there is none.
 * @param name in lower case
 */
export function singleHeader ({ headers, raw: { rawHeaders } }: FastifyRequest, name: string): string | null | undefined {
  const value = headers[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string') return null
  if (!value.includes(', ')) return value
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2) if (rawHeaders[at]?.toLowerCase() === name) count++
  return count > 1 ? null : value
}
