import { CLIENT_CAPABILITIES_KEY, LATEST_MODERN_REVISION, Message, PROTOCOL_VERSION_KEY, isObject, readParamHeaders, type Connect, type ConnectContext, type FastifyBaseLogger, type ParamHeader } from '@mcp-proxy/protocol'
import type { FastifyRequest } from 'fastify'
import { ask } from './ask.js'
import { findParamMismatch } from './mcp-param.js'

/** Tools whose parameters are repeated in headers, by name. */
type Tools = ReadonlyMap<string, readonly ParamHeader[]>

/** What is known of the tools that one principal sees. */
interface Known {
  /** Empty where the list could not be had: then nothing is judged. */
  readonly tools: Tools
  readonly complete: boolean
  /** `Date.now()` when it was asked for. */
  readonly at: number
}

const MAX_PRINCIPALS = 1_000
const MAX_PAGES = 100
/** Milliseconds after which a list is asked for again, behind the back of the call that comes then. */
const MAX_AGE = 30_000
/** Milliseconds in which a list is not asked for twice. */
const MIN_AGE = 1_000
/** Milliseconds that a list may take. A call waits for the first. */
const TIMEOUT = 10_000
const META = `"_meta":{"${PROTOCOL_VERSION_KEY}":"${LATEST_MODERN_REVISION}","${CLIENT_CAPABILITIES_KEY}":{}}`

/**
 * Compares the `Mcp-Param-…` headers of calls with their arguments. Which there have to be is in the schemas of the
 * tools, so the endpoint lists them itself, each principal's on their own.
 */
export class ToolHeaders {
  readonly #connect: Connect
  readonly #log: FastifyBaseLogger
  readonly #known = new Map<string | undefined, Known>()
  readonly #loading = new Map<string | undefined, Promise<Known>>()
  readonly #end = new AbortController()

  constructor (connect: Connect, log: FastifyBaseLogger) {
    this.#connect = connect
    this.#log = log
  }

  /**
   * What is wrong with the headers of a `tools/call`; `undefined` when nothing is. A promise where the list has to be
   * asked for: for the first call of a principal, and before one is refused by a list that may be out of date. It never rejects.
   */
  check (request: FastifyRequest, principal: string | undefined, call: Message): string | undefined | Promise<string | undefined> {
    const known = this.#known.get(principal)
    if (known === undefined) return this.#load(request, principal).then(first => judge(first, request, call))
    const age = Date.now() - known.at
    if (age > (known.complete ? MAX_AGE : MIN_AGE)) void this.#load(request, principal)
    const mismatch = judge(known, request, call)
    if (mismatch === undefined || age < MIN_AGE) return mismatch
    return this.#load(request, principal).then(fresh => judge(fresh, request, call))
  }

  /** Ends what is being asked. */
  close (): void {
    this.#end.abort()
  }

  #load (request: FastifyRequest, principal: string | undefined): Promise<Known> {
    const loading = this.#loading.get(principal)
    if (loading !== undefined) return loading
    const started = this.#fetch(request, principal).then((known) => {
      this.#loading.delete(principal)
      this.#keep(principal, known)
      return known
    })
    this.#loading.set(principal, started)
    return started
  }

  #keep (principal: string | undefined, known: Known): void {
    // the one that was asked for last stands last
    this.#known.delete(principal)
    this.#known.set(principal, known)
    if (this.#known.size > MAX_PRINCIPALS) this.#known.delete(this.#known.keys().next().value)
  }

  async #fetch (request: FastifyRequest, principal: string | undefined): Promise<Known> {
    const at = Date.now()
    const stop = new AbortController()
    const abort = (): void => stop.abort()
    const timer = setTimeout(abort, TIMEOUT).unref()
    this.#end.signal.addEventListener('abort', abort)
    try {
      const tools = await listTools(this.#connect, { id: String(request.id), principal, request, log: this.#log, era: 'modern' }, stop.signal)
      return { tools: tools ?? new Map(), complete: tools !== undefined, at }
    } catch (err) {
      this.#log.error({ err }, 'the tools could not be listed')
      return { tools: new Map(), complete: false, at }
    } finally {
      clearTimeout(timer)
      this.#end.signal.removeEventListener('abort', abort)
    }
  }
}

function judge ({ tools }: Known, request: FastifyRequest, call: Message): string | undefined {
  if (tools.size === 0) return undefined
  const name = call.params?.['name']
  const params = typeof name === 'string' ? tools.get(name) : undefined
  return params === undefined ? undefined : findParamMismatch(request, call, params)
}

/** The tools with annotations, from all pages; `undefined` when the server does not answer with a list. */
async function listTools (connect: Connect, context: ConnectContext, signal: AbortSignal): Promise<Tools | undefined> {
  const tools = new Map<string, readonly ParamHeader[]>()
  let cursor = ''
  for (let page = 0; page < MAX_PAGES; page++) {
    const answer = await ask(connect, context, Message.request(String(page), 'tools/list', `{${cursor}${META}}`), signal)
    const result = answer?.result
    if (!Array.isArray(result?.['tools'])) return undefined
    for (const tool of result['tools'] as unknown[]) {
      if (!isObject(tool) || typeof tool['name'] !== 'string') continue
      // none where an annotation is invalid: clients leave such a tool out
      const params = readParamHeaders(tool['inputSchema']) ?? []
      if (params.length > 0) tools.set(tool['name'], params)
    }
    const { nextCursor } = result
    if (typeof nextCursor !== 'string') break
    cursor = `"cursor":${JSON.stringify(nextCursor)},`
  }
  return tools
}
