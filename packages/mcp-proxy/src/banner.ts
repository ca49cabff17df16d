import { endpointPaths } from './plugin-options.js'
import type { Settings } from './settings.js'

/** Where a running proxy is, and what to paste into a client's configuration. */
export function describeServer (address: string, settings: Settings): string {
  const { sse, stream } = endpointPaths(settings)
  const url = address.replace('://0.0.0.0', '://127.0.0.1').replace('://[::]', '://[::1]')
  const urls = [
    ...stream.map(path => `  Streamable HTTP  ${url}${path}`),
    ...(sse === undefined ? [] : [`  SSE              ${url}${sse}`]),
  ]
  const path = stream.at(-1) ?? sse ?? ''
  const server: Record<string, unknown> = { type: stream.length > 0 ? 'http' : 'sse', url: url + path }
  // the user id is a credential: it is not printed
  if (settings['user-id'] !== undefined) server['headers'] = { 'x-user-id': '<user id>' }
  const config = JSON.stringify({ mcpServers: { 'my-server': server } }, null, 2)
  return `MCP server ready:\n${urls.join('\n')}\n\nFor a client's configuration:\n${config}\n`
}
