import { decodeHeaderValue, foldName, mcpError, scanObject, type CodedError, type Message } from '@mcp-proxy/protocol'
import type { FastifyRequest } from 'fastify'
import { singleHeader } from './single-header.js'
import { PROTOCOL_VERSION } from './headers.js'

/** What `Mcp-Name` repeats, by method (2026-07-28, "Streamable HTTP", Standard Request Headers). */
const NAME_SOURCES: ReadonlyMap<string, 'name' | 'uri'> = new Map([['tools/call', 'name'], ['prompts/get', 'name'], ['resources/read', 'uri']])

/** Characters of a value that an error repeats. */
const MAX_SHOWN = 60

/** @throws MCP_ERR_HEADER_MISMATCH */
export function checkVersionHeader (request: FastifyRequest, revision: string): void {
  const header = singleHeader(request, PROTOCOL_VERSION)
  if (header !== revision) throw mismatch('MCP-Protocol-Version', header, revision)
}

/**
 * Compares the headers that repeat the method and the name of what it is about.
 * @throws MCP_ERR_HEADER_MISMATCH
 */
export function checkMirrors (request: FastifyRequest, message: Message): void {
  const method = message.method as string
  const header = singleHeader(request, 'mcp-method')
  if (header !== method) throw mismatch('Mcp-Method', header, method)
  const source = NAME_SOURCES.get(method)
  if (source !== undefined) checkName(singleHeader(request, 'mcp-name'), source, message)
}

function checkName (header: string | null | undefined, source: 'name' | 'uri', message: Message): void {
  const value = message.params?.[source]
  if (header === undefined && typeof value !== 'string') return // nothing to repeat: what is missing is the server's to say
  const said = typeof header === 'string' ? decodeHeaderValue(header) : undefined
  // a URI may hold a secret, and messages of errors are logged
  if (said === undefined || said !== value) throw source === 'uri' ? differs('Mcp-Name', header, 'params.uri') : mismatch('Mcp-Name', header, value)
  if (!standsOnce(message, source)) throw mcpError('MCP_ERR_HEADER_MISMATCH', `params.${source} stands twice in the body`)
}

/**
 * Whether a parameter is there once. Of two equal names JSON.parse takes the last, a server perhaps the first, or one in
 * another case, which no header has named.
 */
function standsOnce (message: Message, name: string): boolean {
  const folded = foldName(name)
  let count = 0
  scanObject(message.bytes, message.paramsStart ?? 0, (member) => { if (foldName(member) === folded) count++ })
  return count === 1
}

/** A mismatch without the values. */
function differs (name: string, header: string | null | undefined, path: string): CodedError {
  return mcpError('MCP_ERR_HEADER_MISMATCH', typeof header === 'string' ? `the ${name} header does not match ${path}` : `the ${name} header is ${lack(header)}`)
}

function mismatch (name: string, header: string | null | undefined, value: unknown): CodedError {
  return mcpError('MCP_ERR_HEADER_MISMATCH', typeof header === 'string'
    ? `${name} header value ${shorten(header)} does not match body value ${shorten(value)}`
    : `${name} header is ${lack(header)}, body value is ${shorten(value)}`)
}

function lack (header: null | undefined): string {
  return header === null ? 'repeated' : 'missing'
}

function shorten (value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing'
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
}
