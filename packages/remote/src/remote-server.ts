import type { Connect } from '@mcp-proxy/protocol'

/** An MCP server at a URL, made by `remoteServer(options: RemoteServerOptions): RemoteServer`. */
export interface RemoteServer {
  /** Joins a party of either era to the server. */
  readonly connect: Connect
  /** Ends all sessions with the server and closes all parties. Harmless when called twice. */
  readonly close: () => Promise<void>
}
