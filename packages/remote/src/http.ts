import { mcpError, type CodedError, type ConnectContext } from '@mcp-proxy/protocol'
import { Authorization } from './authorization.js'
import type { RemoteSettings } from './options.js'

/** What is asked of the server. */
export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** @default the URL of the server */
  readonly url?: URL | undefined
  /** Headers of the protocol; they win over those of the options. */
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer | undefined
  readonly signal: AbortSignal
}

const MAX_REDIRECTS = 5
/** Answers that say where else to ask, with the same method; of others the method is not certain. */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 307, 308])
const CREDENTIALS: ReadonlySet<number> = new Set([401, 403])

/** Requests to the server, with its headers, its tokens, and redirects that stay where they are. */
export class Http {
  readonly #settings: RemoteSettings
  readonly #authorization: Authorization | undefined

  constructor (settings: RemoteSettings) {
    this.#settings = settings
    this.#authorization = settings.authProvider === undefined ? undefined : new Authorization(settings.authProvider, settings)
  }

  /**
   * The server's answer, whatever its status; its body has to be read or cancelled.
   * @throws MCP_ERR_REMOTE_UNREACHABLE, MCP_ERR_REMOTE_UNAUTHORIZED, MCP_ERR_REMOTE_PROTOCOL
   */
  async send (context: ConnectContext, request: HttpRequest): Promise<Response> {
    const token = await this.#authorization?.token()
    const response = await this.#follow(context, request, token)
    if (!CREDENTIALS.has(response.status)) return response
    const again = await this.#authorization?.renew(response, token, request.signal)
    await discard(response)
    if (again === undefined) throw this.#unauthorized(response.status)
    const second = await this.#follow(context, request, again)
    if (!CREDENTIALS.has(second.status)) return second
    await discard(second)
    throw this.#unauthorized(second.status)
  }

  async #follow (context: ConnectContext, request: HttpRequest, token: string | undefined): Promise<Response> {
    const { name } = this.#settings
    let url = request.url ?? this.#settings.url
    for (let count = 0; count <= MAX_REDIRECTS; count++) {
      const response = await this.#fetch(context, request, url, token)
      if (response.status < 300 || response.status > 399 || response.status === 304) return response
      await discard(response)
      const location = response.headers.get('location')
      const target = location === null ? undefined : parseUrl(location, url)
      if (target === undefined || !REDIRECTS.has(response.status)) throw mcpError('MCP_ERR_REMOTE_STATUS', name, response.status)
      // what is sent is for this origin: credentials, and what a user has said
      if (target.origin !== url.origin) throw mcpError('MCP_ERR_REMOTE_PROTOCOL', name, `it redirects to ${target.origin}`)
      target.hash = ''
      url = target
    }
    throw mcpError('MCP_ERR_REMOTE_PROTOCOL', name, `it redirects more than ${MAX_REDIRECTS} times`)
  }

  async #fetch (context: ConnectContext, { method, headers, body, signal }: HttpRequest, url: URL, token: string | undefined): Promise<Response> {
    const settings = this.#settings
    const all = new Headers()
    if (settings.basic !== undefined) all.set('authorization', settings.basic)
    if (token !== undefined) all.set('authorization', `Bearer ${token}`)
    for (const [name, value] of [...Object.entries(settings.headers(context)), ...Object.entries(headers)]) all.set(name, value)
    try {
      return await settings.fetch(url, { method, headers: all, signal, redirect: 'manual', ...(body !== undefined && { body }) })
    } catch (cause) {
      throw mcpError('MCP_ERR_REMOTE_UNREACHABLE', settings.name, reasonOf(cause), { cause })
    }
  }

  #unauthorized (status: number): CodedError {
    return mcpError('MCP_ERR_REMOTE_UNAUTHORIZED', this.#settings.name, `HTTP status ${status}`)
  }
}

/** A body that nobody reads would hold its connection. */
export async function discard (response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {})
}

/** What the network says, without what it was about: an address may hold a secret. */
function reasonOf (cause: unknown): string {
  for (let error = cause, depth = 0; error instanceof Error && depth < 5; error = error.cause, depth++) {
    if ('code' in error && typeof error.code === 'string') return error.code
    // ports of other services, which browsers do not use either: the one reason without a code
    if (error.message === 'bad port') return error.message
  }
  return cause instanceof Error && cause.name !== 'TypeError' ? cause.name : 'the connection failed'
}

function parseUrl (text: string, base: URL): URL | undefined {
  try {
    return new URL(text, base)
  } catch {
    return undefined
  }
}
