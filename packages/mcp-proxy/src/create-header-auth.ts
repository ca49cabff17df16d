import { DEFAULT_HEADER, findSecret } from '@mcp-proxy/auth'
import { mcpError } from '@mcp-proxy/protocol'

/** Anything that has the headers of a request: of Fastify, of Node, or of the web. */
export interface RequestWithHeaders {
  readonly headers: Readonly<Record<string, string | string[] | undefined>> | Headers
}

export interface HeaderAuthOptions {
  /** The header that carries the user id. @default 'x-user-id' */
  header?: string | undefined
}

/** Who was let in. */
export interface HeaderUser {
  readonly userId: string
}

/** Tells who a request is from; `undefined` for those who are not let in. */
export type HeaderAuth = (request: RequestWithHeaders | undefined) => HeaderUser | undefined

/**
 * Makes an `authenticate` function that asks for a user id in a header, for `proxyServer`, `startSSEServer` and
 * `startHTTPStreamServer`. Ids are compared in constant time.
 *
 * @param userId one user id, or several; none may be empty
 * @throws MCP_ERR_OPTION
 */
export function createHeaderAuth (userId: string | readonly string[], options: HeaderAuthOptions = {}): HeaderAuth {
  // a variable of the environment that is not set gives undefined, whatever the type says
  const ids = typeof userId === 'string' ? [userId] : [...userId ?? []]
  // an empty id would let in whoever sends an empty header
  if (ids.length === 0 || ids.some(id => typeof id !== 'string' || id === '')) throw mcpError('MCP_ERR_OPTION', 'userId', 'one or more user ids that are not empty', ids.length === 0 ? 'none' : 'one that is empty')
  const header = (options.header ?? DEFAULT_HEADER).toLowerCase()
  return (request) => {
    const given = request === undefined ? undefined : headerOf(request, header)
    const found = given === undefined || given === '' ? undefined : findSecret(given, ids)
    return found === undefined ? undefined : { userId: found }
  }
}

function headerOf ({ headers }: RequestWithHeaders, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}
