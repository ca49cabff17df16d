import { checkInteger, checkMilliseconds, mcpError, type ConnectContext, type Era, type FastifyBaseLogger } from '@mcp-proxy/protocol'
import type { OAuthClientProvider } from '@modelcontextprotocol/client'

/** How a server is reached: `stream` is Streamable HTTP, `sse` is HTTP+SSE of 2024-11-05, `auto` finds out. */
export type RemoteTransport = 'auto' | 'stream' | 'sse'

/** Headers for each request to the server; a function is asked anew for each party's request. */
export type RemoteHeaders = Readonly<Record<string, string>> | ((context: ConnectContext) => Readonly<Record<string, string>>)

export interface ReconnectOptions {
  /** Milliseconds before a lost stream is opened again the first time; each later pause is twice as long, and up to half longer by chance. @default 1_000 */
  readonly delay?: number | undefined
  /** Milliseconds of the longest pause. @default 30_000 */
  readonly maxDelay?: number | undefined
  /** Attempts in a row before a stream is given up until something else succeeds. @default 10 */
  readonly maxRetries?: number | undefined
}

export interface RemoteServerOptions {
  /** Where the server is. A user and a password in it are sent as Basic authentication. Only `http:` and `https:`. */
  readonly url: string | URL
  /** @default 'auto' */
  readonly transport?: RemoteTransport | undefined
  /** Whether the server shakes hands (`legacy`, up to 2025-11-25) or not (`modern`, 2026-07-28). @default 'auto': it is asked */
  readonly era?: 'auto' | Era | undefined
  /** @default none */
  readonly headers?: RemoteHeaders | undefined
  /** A provider of the MCP SDK, v1 or v2, which is asked for tokens, and to authorize when the server answers 401. @default none */
  readonly authProvider?: OAuthClientProvider | undefined
  /** @default the global `fetch` */
  readonly fetch?: typeof fetch | undefined
  /** What the server is called in errors and logs. @default the host of the URL */
  readonly name?: string | undefined
  /** Milliseconds until a call without an answer fails; `0` is never. @default 300_000 */
  readonly requestTimeout?: number | undefined
  /** Bytes of the largest message that is taken from the server. @default 67_108_864 */
  readonly maxMessageBytes?: number | undefined
  /** Calls that one party may have open; one more is refused. @default 1_000 */
  readonly maxCalls?: number | undefined
  readonly reconnect?: ReconnectOptions | undefined
  /** @default nothing is logged */
  readonly log?: FastifyBaseLogger | undefined
}

export const DEFAULT_REQUEST_TIMEOUT = 300_000
export const DEFAULT_MAX_MESSAGE_BYTES: number = 64 * 1024 * 1024
export const DEFAULT_MAX_CALLS = 1_000
export const DEFAULT_RECONNECT: Readonly<Required<{ [Name in keyof ReconnectOptions]: number }>> = { delay: 1_000, maxDelay: 30_000, maxRetries: 10 }

/** The options, checked and complete. */
export interface RemoteSettings {
  /** Without user, password and fragment. */
  readonly url: URL
  readonly transport: RemoteTransport
  readonly era: 'auto' | Era
  /** The value of `Authorization` for a user and a password in the URL. */
  readonly basic: string | undefined
  readonly headers: (context: ConnectContext) => Readonly<Record<string, string>>
  /** Headers differ from party to party: what was opened for one must not serve another. */
  readonly personal: boolean
  readonly authProvider: OAuthClientProvider | undefined
  readonly fetch: typeof fetch
  readonly name: string
  readonly requestTimeout: number
  readonly maxMessageBytes: number
  readonly maxCalls: number
  readonly reconnect: typeof DEFAULT_RECONNECT
  readonly log: FastifyBaseLogger
}

/** @throws MCP_ERR_OPTION */
export function readRemoteOptions (options: RemoteServerOptions): RemoteSettings {
  const { url, basic } = readUrl(options.url)
  const { headers = {}, authProvider } = options
  if (authProvider !== undefined && typeof authProvider?.tokens !== 'function') throw mcpError('MCP_ERR_OPTION', 'authProvider', 'an OAuthClientProvider', typeof authProvider)
  if (options.fetch !== undefined && typeof options.fetch !== 'function') throw mcpError('MCP_ERR_OPTION', 'fetch', 'a function', typeof options.fetch)
  const fixed = typeof headers === 'function' ? {} : checkHeaders(headers)
  const era = oneOf('era', options.era ?? 'auto', ['auto', 'legacy', 'modern'])
  const transport = oneOf('transport', options.transport ?? 'auto', ['auto', 'stream', 'sse'])
  if (era === 'modern' && transport === 'sse') throw mcpError('MCP_ERR_OPTION', 'transport', '"stream" or "auto" where era is "modern"', '"sse"')
  return {
    url,
    basic,
    transport,
    era: transport === 'sse' ? 'legacy' : era,
    headers: typeof headers === 'function' ? context => checkHeaders(headers(context)) : () => fixed,
    personal: typeof headers === 'function',
    authProvider,
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    name: options.name ?? url.host,
    requestTimeout: checkMilliseconds('requestTimeout', options.requestTimeout ?? DEFAULT_REQUEST_TIMEOUT),
    maxMessageBytes: checkInteger('maxMessageBytes', options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES, 1),
    maxCalls: checkInteger('maxCalls', options.maxCalls ?? DEFAULT_MAX_CALLS, 1),
    reconnect: {
      delay: checkMilliseconds('reconnect.delay', options.reconnect?.delay ?? DEFAULT_RECONNECT.delay),
      maxDelay: checkMilliseconds('reconnect.maxDelay', options.reconnect?.maxDelay ?? DEFAULT_RECONNECT.maxDelay),
      maxRetries: checkInteger('reconnect.maxRetries', options.reconnect?.maxRetries ?? DEFAULT_RECONNECT.maxRetries),
    },
    log: options.log ?? SILENT,
  }
}

function readUrl (given: unknown): { url: URL, basic: string | undefined } {
  let url: URL
  try {
    url = new URL(String(given))
  } catch {
    // what it says may be a secret
    throw mcpError('MCP_ERR_OPTION', 'url', 'an http: or https: URL', 'something that is none')
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw mcpError('MCP_ERR_OPTION', 'url', 'an http: or https: URL', JSON.stringify(url.protocol))
  // fetch refuses URLs with credentials
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  const basic = user === ':' ? undefined : `Basic ${Buffer.from(user).toString('base64')}`
  url.username = ''
  url.password = ''
  url.hash = ''
  return { url, basic }
}

/** `Headers` lets some of them pass, which are then refused on the way. */
// eslint-disable-next-line no-control-regex
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

function checkHeaders (headers: unknown): Readonly<Record<string, string>> {
  if (headers === null || typeof headers !== 'object') throw mcpError('MCP_ERR_OPTION', 'headers', 'an object or a function', typeof headers)
  for (const [name, value] of Object.entries(headers)) {
    try {
      if (typeof value !== 'string' || CONTROL.test(value)) throw new TypeError('not a value')
      new Headers().set(name, value)
    } catch {
      // without the value: it is mostly a secret
      throw mcpError('MCP_ERR_OPTION', 'headers', 'names and values of HTTP headers', JSON.stringify(name))
    }
  }
  return { ...headers } as Readonly<Record<string, string>>
}

function oneOf<Value extends string> (name: string, value: unknown, values: readonly Value[]): Value {
  const found = values.find(known => known === value)
  if (found === undefined) throw mcpError('MCP_ERR_OPTION', name, values.map(known => JSON.stringify(known)).join(' or '), JSON.stringify(value) ?? typeof value)
  return found
}

const nothing = (): void => {}
const SILENT: FastifyBaseLogger = { fatal: nothing, error: nothing, warn: nothing, info: nothing, debug: nothing, trace: nothing }
