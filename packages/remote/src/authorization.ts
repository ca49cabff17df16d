import { mcpError } from '@mcp-proxy/protocol'
import type { OAuthClientProvider } from '@modelcontextprotocol/client'
import type { RemoteSettings } from './options.js'

/** Tokens of the SDK's OAuth provider. The SDK does the rest, and is loaded when a server first asks for it. */
export class Authorization {
  readonly #provider: OAuthClientProvider
  readonly #settings: RemoteSettings
  #renewing: Promise<boolean> | undefined

  constructor (provider: OAuthClientProvider, settings: RemoteSettings) {
    this.#provider = provider
    this.#settings = settings
  }

  async token (): Promise<string | undefined> {
    let token: string | undefined
    try {
      token = (await this.#provider.tokens())?.access_token
    } catch (cause) {
      throw mcpError('MCP_ERR_REMOTE_UNAUTHORIZED', this.#settings.name, 'the authProvider has failed', { cause })
    }
    // an error about a header would show it
    if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) throw mcpError('MCP_ERR_REMOTE_UNAUTHORIZED', this.#settings.name, 'the token cannot stand in a header')
    return token
  }

  /**
   * A token to try again with, after the server has refused one; `undefined` when a person has to do something first.
   * Whoever comes meanwhile waits for the same.
   * @param refused the token of the request, or `undefined` where there was none
   */
  async renew (response: Response, refused: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const token = await this.token()
    // another request has renewed it
    if (this.#renewing === undefined && token !== undefined && token !== refused) return token
    this.#renewing ??= this.#authorize(response).finally(() => { this.#renewing = undefined })
    const authorized = await this.#renewing
    signal.throwIfAborted()
    return authorized ? await this.token() : undefined
  }

  async #authorize (response: Response): Promise<boolean> {
    const { url, fetch, name, log } = this.#settings
    const { auth, extractWWWAuthenticateParams } = await import('@modelcontextprotocol/client')
    const { resourceMetadataUrl, scope, error } = extractWWWAuthenticateParams(response)
    if (response.status === 403 && error !== 'insufficient_scope') return false
    try {
      const outcome = await auth(this.#provider, {
        serverUrl: url,
        fetchFn: fetch,
        ...(resourceMetadataUrl !== undefined && { resourceMetadataUrl }),
        ...(scope !== undefined && { scope }),
        // a refreshed token has the scope of the old one
        ...(response.status === 403 && { forceReauthorization: true }),
      })
      return outcome === 'AUTHORIZED'
    } catch (cause) {
      log.warn({ server: name, reason: cause instanceof Error ? cause.name : 'unknown' }, 'authorization has failed')
      throw mcpError('MCP_ERR_REMOTE_UNAUTHORIZED', name, 'authorization has failed', { cause })
    }
  }
}
