import type { FastifyRequest } from 'fastify'

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
