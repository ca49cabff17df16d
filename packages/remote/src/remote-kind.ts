import {
  CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, HEADER_MISMATCH, LATEST_MODERN_REVISION, MISSING_CLIENT_CAPABILITY, Message, PROTOCOL_VERSION_KEY, PROXY_INFO,
  UNSUPPORTED_VERSION, isLegacyRevision, isModernRevision, isObject, mcpError, type ConnectContext, type Era,
} from '@mcp-proxy/protocol'
import { mediaType, readBody, readEvents, readMessages } from './answer.js'
import { discard, type Http } from './http.js'
import { post, readRefusal, refusalError } from './stream-request.js'
import type { RemoteSettings } from './options.js'

/** Milliseconds in which a server says whether it is modern. One that says nothing is asked in the other way. */
const PROBE_TIMEOUT = 10_000
/** A server that does not know the question may fail at it. */
const FAILED = 500
const DISCOVER = Message.request('"mcp-proxy-discover"', 'server/discover', JSON.stringify({
  _meta: { [PROTOCOL_VERSION_KEY]: LATEST_MODERN_REVISION, [CLIENT_INFO_KEY]: PROXY_INFO, [CLIENT_CAPABILITIES_KEY]: {} },
}))

/** How the server at the URL is to be spoken to: found out once, and kept. */
export class RemoteKind {
  readonly #http: Http
  readonly #settings: RemoteSettings
  #eras: ReadonlySet<Era> | undefined
  #transport: 'stream' | 'sse' | undefined

  constructor (http: Http, settings: RemoteSettings) {
    this.#http = http
    this.#settings = settings
    if (settings.era !== 'auto') this.#eras = new Set([settings.era])
    if (settings.transport !== 'auto') this.#transport = settings.transport
  }

  /** How servers that shake hands are reached; `undefined` until one has answered. */
  get transport (): 'stream' | 'sse' | undefined { return this.#transport }

  learnTransport (transport: 'stream' | 'sse'): void {
    this.#transport ??= transport
  }

  /** The server has shaken hands, and did not say before that it need not. */
  learnLegacy (): void {
    this.#eras ??= new Set(['legacy'])
  }

  /** In which era a party is best served, where that is known: its own, if the server knows it. */
  known (party: Era): Era | undefined {
    if (this.#eras === undefined) return undefined
    return this.#eras.has(party) ? party : party === 'modern' ? 'legacy' : 'modern'
  }

  /**
   * Asks the server, with a question that only modern servers know (2026-07-28, "Streamable HTTP", Backward Compatibility).
   * @throws CodedError, when the server cannot be asked: then nothing is known
   */
  async find (party: Era, context: ConnectContext, end: AbortSignal): Promise<Era> {
    const known = this.known(party)
    if (known !== undefined) return known
    const patience = AbortSignal.timeout(PROBE_TIMEOUT)
    try {
      const eras = await this.#ask(context, AbortSignal.any([end, patience]))
      // a server that has failed, or a page of what stands before it, may be another kind tomorrow
      if (eras === undefined) return 'legacy'
      this.#eras ??= eras
    } catch (error) {
      if (!patience.aborted || end.aborted) throw error
      return 'legacy'
    }
    return this.known(party) as Era
  }

  /** `undefined` when the answer says nothing. */
  async #ask (context: ConnectContext, signal: AbortSignal): Promise<ReadonlySet<Era> | undefined> {
    const response = await post(this.#http, context, DISCOVER, { 'mcp-protocol-version': LATEST_MODERN_REVISION, 'mcp-method': 'server/discover' }, signal)
    if (response.ok) return erasOf(await this.#readAnswer(response))
    const refusal = await readRefusal(response, this.#settings)
    if (refusal.message !== undefined) return erasOf(refusal.message)
    if (refusal.status > FAILED || refusal.status === 429) throw refusalError(refusal, this.#settings)
    return undefined
  }

  async #readAnswer (response: Response): Promise<Message | undefined> {
    if (mediaType(response) === 'application/json') return readMessages(await readBody(response, this.#settings)).find(isAnswer)
    if (mediaType(response) !== 'text/event-stream') {
      await discard(response)
      return undefined
    }
    try {
      for await (const { data } of readEvents(response, this.#settings, () => {})) {
        const answer = readMessages(Buffer.from(data)).find(isAnswer)
        if (answer !== undefined) return answer
      }
    } catch (cause) {
      throw mcpError('MCP_ERR_REMOTE_ENDED', this.#settings.name, { cause })
    }
    return undefined
  }
}

function isAnswer ({ kind }: Message): boolean {
  return kind === 'response'
}

/** What an answer to `server/discover` says: everything but a modern server's words, a legacy one may say too. */
function erasOf (answer: Message | undefined): ReadonlySet<Era> {
  const { result, error } = answer?.toJSON() ?? {}
  if (error?.code === HEADER_MISMATCH || error?.code === MISSING_CLIENT_CAPABILITY) return new Set<Era>(['modern'])
  const versions = result?.['supportedVersions'] ?? (error?.code === UNSUPPORTED_VERSION && isObject(error.data) ? error.data['supported'] : undefined)
  if (!Array.isArray(versions) || !versions.some(isModernRevision)) return new Set<Era>(['legacy'])
  return new Set<Era>(versions.some(isLegacyRevision) ? ['modern', 'legacy'] : ['modern'])
}
