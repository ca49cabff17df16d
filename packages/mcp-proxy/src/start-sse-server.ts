import { DEFAULT_SSE_PATH, mcpSse, type McpSseOptions } from '@mcp-proxy/sse'
import type { InProcessServer } from '@mcp-proxy/endpoint'
import { startServer, type StartServerOptions, type StartedServer } from './start-server.js'

export interface StartSSEServerOptions<S extends InProcessServer = InProcessServer> extends StartServerOptions<S>, Pick<McpSseOptions, 'messagesPath' | 'publicPrefix'> {
  /** Where clients open their event stream. @default '/sse' */
  endpoint?: string | undefined
}

/**
 * Serves servers in this process over HTTP+SSE, the transport of revision 2024-11-05: `@mcp-proxy/sse` in an app of its own.
 * @throws MCP_ERR_OPTION, and what listening fails with
 */
export async function startSSEServer<S extends InProcessServer> ({ endpoint = DEFAULT_SSE_PATH, messagesPath, publicPrefix, ...options }: StartSSEServerOptions<S>): Promise<StartedServer> {
  return await startServer<S>(options, endpoint, (app, { options, path }) => app.register(mcpSse, { ...options, path, messagesPath, publicPrefix }))
}
