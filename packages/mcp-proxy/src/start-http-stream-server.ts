import { DEFAULT_STREAM_PATH, mcpStream, type McpStreamOptions } from '@mcp-proxy/stream'
import type { InProcessServer } from '@mcp-proxy/endpoint'
import { startServer, type StartServerOptions, type StartedServer } from './start-server.js'

export interface StartHTTPStreamServerOptions<S extends InProcessServer = InProcessServer>
  extends StartServerOptions<S>, Pick<McpStreamOptions, 'stateless' | 'eventStore' | 'maxConnectionAge' | 'maxStreams' | 'retryInterval'> {
  /** The path of the endpoint. @default '/stream' */
  endpoint?: string | undefined
}

/**
 * Serves servers in this process over Streamable HTTP, the transport of revisions 2025-03-26 to 2026-07-28:
 * `@mcp-proxy/stream` in an app of its own.
 * @throws MCP_ERR_OPTION, and what listening fails with
 */
export async function startHTTPStreamServer<S extends InProcessServer> ({ endpoint = DEFAULT_STREAM_PATH, stateless, eventStore, maxConnectionAge, maxStreams, retryInterval, ...options }: StartHTTPStreamServerOptions<S>): Promise<StartedServer> {
  return await startServer<S>(options, endpoint, (app, { options, path }) => app.register(mcpStream, { ...options, path, stateless, eventStore, maxConnectionAge, maxStreams, retryInterval }))
}
