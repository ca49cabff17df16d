import { mcpError } from '@mcp-proxy/protocol'
import type { RemoteSettings } from './options.js'

/**
 * Where a server of HTTP+SSE takes messages (2024-11-05, "HTTP with SSE").
 * @param place as its `endpoint` event names it
 * @param base the address of the stream; empty where it is not known
 * @throws MCP_ERR_REMOTE_PROTOCOL
 */
export function messageEndpoint (place: string, base: string, { name, url }: RemoteSettings): URL {
  let endpoint: URL
  try {
    endpoint = new URL(place, base === '' ? url : base)
  } catch {
    throw mcpError('MCP_ERR_REMOTE_PROTOCOL', name, 'it names no endpoint')
  }
  // what is sent there, credentials with it, is for this server
  if (endpoint.origin !== url.origin) throw mcpError('MCP_ERR_REMOTE_PROTOCOL', name, `its endpoint is at ${endpoint.origin}`)
  endpoint.hash = ''
  return endpoint
}
