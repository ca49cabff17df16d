import { LATEST_MODERN_REVISION, PROTOCOL_VERSION_KEY, encodeHeaderValue, metaOf, type Message } from '@mcp-proxy/protocol'

/** What `Mcp-Name` repeats, by method (2026-07-28, "Streamable HTTP", Standard Request Headers). */
const NAMES: ReadonlyMap<string, 'name' | 'uri'> = new Map([['tools/call', 'name'], ['prompts/get', 'name'], ['resources/read', 'uri']])
const VISIBLE = /^[\x21-\x7e]+$/

/** The headers that repeat what a message says. */
export function modernHeaders (message: Message): Record<string, string> {
  const method = message.method as string
  const version = metaOf(message)[PROTOCOL_VERSION_KEY]
  const source = NAMES.get(method)
  const name = source === undefined ? undefined : message.params?.[source]
  return {
    // what no header can say is for the server to refuse
    'mcp-protocol-version': typeof version === 'string' && VISIBLE.test(version) ? version : LATEST_MODERN_REVISION,
    'mcp-method': encodeHeaderValue(method),
    ...(typeof name === 'string' && { 'mcp-name': encodeHeaderValue(name) }),
  }
}
