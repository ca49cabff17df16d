import { endpointPaths } from './plugin-options.js'
import type { ServerReport } from './config/servers.js'
import type { Settings } from './settings.js'

/** Where a running proxy is, and what to paste into a client's configuration. */
export function describeServer (address: string, settings: Settings): string {
  const url = reachable(address)
  return `MCP server ready:\n${listUrls(url, settings).join('\n')}\n\n${clientConfig({ 'my-server': clientEntry(url, settings) })}`
}

/** The same for the servers of a configuration, with those that do not run. */
export function describeServers (address: string, settings: Settings, reports: readonly ServerReport[]): string {
  const url = reachable(address)
  const running = reports.filter(({ error }) => error === undefined).map(({ name }) => name)
  const failures = describeFailures(reports)
  const failed = failures === '' ? '' : `Not running:\n${failures}\n`
  if (running.length === 0) return failed === '' ? 'MCP servers: none is configured yet\n' : failed
  const lists = running.map(name => `  ${name}\n${listUrls(`${url}/${name}`, settings).map(line => `  ${line}`).join('\n')}\n`)
  return `MCP servers ready:\n${lists.join('')}${failed}\n${clientConfig(Object.fromEntries(running.map(name => [name, clientEntry(`${url}/${name}`, settings)])))}`
}

/** The servers that do not run, a line each, and why. */
export function describeFailures (reports: readonly ServerReport[]): string {
  return reports.flatMap(({ name, error }) => error === undefined ? [] : [`  ${name}: ${error.message}`]).join('\n')
}

function reachable (address: string): string {
  return address.replace('://0.0.0.0', '://127.0.0.1').replace('://[::]', '://[::1]')
}

function listUrls (url: string, settings: Settings): string[] {
  const { sse, stream } = endpointPaths(settings)
  return [
    ...stream.map(path => `  Streamable HTTP  ${url}${path}`),
    ...(sse === undefined ? [] : [`  SSE              ${url}${sse}`]),
  ]
}

function clientEntry (url: string, settings: Settings): Record<string, unknown> {
  const { sse, stream } = endpointPaths(settings)
  const path = stream.at(-1) ?? sse ?? ''
  const server: Record<string, unknown> = { type: stream.length > 0 ? 'http' : 'sse', url: url + path }
  // the user id is a credential: it is not printed
  if (settings['user-id'] !== undefined) server['headers'] = { 'x-user-id': '<user id>' }
  return server
}

function clientConfig (mcpServers: Record<string, unknown>): string {
  return `For a client's configuration:\n${JSON.stringify({ mcpServers }, null, 2)}\n`
}
