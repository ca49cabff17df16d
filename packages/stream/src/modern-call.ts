import { INTERNAL_ERROR, Message, SUBSCRIPTION_ID_KEY, isLegacyCode, mcpError, toRpcError, type CodedError, type Path, type SendOptions } from '@mcp-proxy/protocol'
import type { FastifyReply } from 'fastify'
import type { Post } from './body.js'
import { LoneCall, type LoneCallOptions } from './lone-call.js'

/** The request that stays open for what the server has to tell (2026-07-28, "Subscriptions"). */
export const LISTEN = 'subscriptions/listen'

const ERROR_CODE: Path = ['error', 'code']
/** HTTP statuses that the revision ties to error codes, as JSON text ("Streamable HTTP", Protocol Version Header, Server Validation; "Overview"). */
const STATUSES: ReadonlyMap<string, number> = new Map([['-32601', 404], ['-32020', 400], ['-32021', 400], ['-32022', 400]])

/** One request of a modern client: closing its response cancels it, and nothing outlives it. */
export class ModernCall extends LoneCall {
  readonly #request: Message

  /** @param request the one in the body */
  constructor (options: LoneCallOptions, reply: FastifyReply, post: Post, request: Message) {
    super(options, reply, post)
    this.#request = request
  }

  /** Answers with an error of the proxy's own. */
  fail (error: CodedError): void {
    void this.answer(Message.error(this.#rawId, toRpcError(error)), { status: error.statusCode, retryAfter: error.retryAfter, local: true })
  }

  /** An open subscription has nothing that could finish; what a call is doing may. */
  override async settled (): Promise<void> {
    if (this.#request.method !== LISTEN) await super.settled()
  }

  /** Ends a subscription gracefully ("Subscriptions", Graceful Closure), and a call with the error. */
  override async close (error: CodedError = mcpError('MCP_ERR_STOPPED')): Promise<void> {
    if (this.#request.method !== LISTEN) this.fail(error)
    else void this.answer(Message.result(this.#rawId, `{"resultType":"complete","_meta":{"${SUBSCRIPTION_ID_KEY}":${this.#rawId}}}`))
  }

  protected override answer (message: Message, options: SendOptions = {}): void | Promise<void> {
    if (!message.failed) return super.answer(message, options)
    const code = message.raw(ERROR_CODE) ?? ''
    const status = STATUSES.get(code) ?? options.status
    const made = options.local === true && isLegacyCode(Number(code)) ? message.rewrite(undefined, [[ERROR_CODE, String(INTERNAL_ERROR)]]) : message
    return super.answer(made, status === options.status ? options : { ...options, status })
  }

  get #rawId (): string { return this.#request.rawId as string }
}
