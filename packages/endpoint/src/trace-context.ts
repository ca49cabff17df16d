import { metaOf, type Message } from '@mcp-proxy/protocol'
import type { FastifyRequest } from 'fastify'

/** W3C Trace Context, 3.2: version, trace id, parent id, flags; versions after 00 may have more behind them. Ids of zeros and version ff are invalid. */
const TRACEPARENT = /^(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]*)?)$/
/** Characters that a header value may have (RFC 9110, 5.5), without those that are not ASCII. */
const PRINTABLE = /^[\t\x20-\x7e]+$/
/** Characters of one value at most: W3C Baggage asks that 8192 bytes are passed on. */
const MAX_LENGTH = 8192

/**
 * The message with the trace context of its HTTP request in `params._meta` (2026-07-28, "Overview", OpenTelemetry trace
 * context), if it is a request. What the client has put there itself stays: `traceparent` and `tracestate` are one
 * thing, and never come half from here and half from there. Headers that do not have the form of their standard are left out.
 */
export function withTraceContext ({ headers }: FastifyRequest, message: Message): Message {
  const { traceparent, tracestate, baggage } = headers
  if (traceparent === undefined && baggage === undefined) return message
  if (message.kind !== 'request') return message
  const meta = metaOf(message)
  const members: Record<string, string> = {}
  if (isTraceparent(traceparent) && !Object.hasOwn(meta, 'traceparent') && !Object.hasOwn(meta, 'tracestate')) {
    members['traceparent'] = JSON.stringify(traceparent)
    if (isCarried(tracestate)) members['tracestate'] = JSON.stringify(tracestate)
  }
  if (isCarried(baggage) && !Object.hasOwn(meta, 'baggage')) members['baggage'] = JSON.stringify(baggage)
  return Object.keys(members).length === 0 ? message : message.edit(['params', '_meta'], members)
}

function isTraceparent (value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_LENGTH && TRACEPARENT.test(value)
}

function isCarried (value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_LENGTH && PRINTABLE.test(value)
}
