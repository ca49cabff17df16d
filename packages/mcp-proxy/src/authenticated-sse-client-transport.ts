import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { DEFAULT_HEADER } from '@mcp-proxy/auth'
import type * as Sse from '@modelcontextprotocol/sdk/client/sse.js'

/** What `SSEClientTransport` of the MCP SDK takes, and the name of the header. */
export interface AuthenticatedSSEClientTransportOptions extends Sse.SSEClientTransportOptions {
  /** The header that carries the user id. @default 'x-user-id' */
  header?: string | undefined
}

/**
 * A client's transport to an SSE endpoint that asks for a user id: the header goes with the GET that opens the stream and
 * with every POST.
 *
 * @param url of the endpoint, such as `http://127.0.0.1:8080/sse`
 * @throws TypeError when the URL is none
 */
export function createAuthenticatedSSEClientTransport (url: string | URL, userId: string, options: AuthenticatedSSEClientTransportOptions = {}): Sse.SSEClientTransport {
  const { header = DEFAULT_HEADER, requestInit, ...others } = options
  const headers = new Headers(requestInit?.headers)
  headers.set(header, userId)
  const { SSEClientTransport } = loadSse()
  return new SSEClientTransport(new URL(url), { ...others, requestInit: { ...requestInit, headers: Object.fromEntries(headers) } })
}

/**
 * Loads the SDK when it is needed: most who use this package never need this part, which would double the time that it
 * takes to load. By its file and not by its name, so that it is the same module that an `import` gives.
 */
function loadSse (): typeof Sse {
  return createRequire(import.meta.url)(fileURLToPath(import.meta.resolve('@modelcontextprotocol/sdk/client/sse.js'))) as typeof Sse
}
