import { BusySet, LATEST_MODERN_REVISION, mcpError, type CodedError, type Connect, type FastifyBaseLogger, type Message } from '@mcp-proxy/protocol'
import { closeGracefully, hasLeft, withTraceContext, type EndpointSettings, type Ticker } from '@mcp-proxy/endpoint'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { checkBatch, type Post, type PostHandler } from './body.js'
import { checkAcceptsStream } from './headers.js'
import type { LoneCall, LoneCallOptions } from './lone-call.js'
import { LISTEN, ModernCall } from './modern-call.js'
import { checkModernRequest } from './modern-envelope.js'
import { ToolHeaders } from './tool-headers.js'

export interface ModernHandlerOptions {
  readonly settings: EndpointSettings
  readonly connect: Connect
  readonly ticker: Ticker
  readonly log: FastifyBaseLogger
}

export interface ModernHandler {
  readonly post: PostHandler
  /** The app closes: subscriptions end at once, calls may finish. */
  readonly close: () => Promise<void>
}

/** The endpoint as modern clients see it: each POST is a request by itself (2026-07-28, "Streamable HTTP"). */
export function modernHandler ({ settings, connect, ticker, log }: ModernHandlerOptions): ModernHandler {
  const { principal: principalOf, maxQueuedBytes, maxSessions, closeGrace } = settings
  const open = new BusySet<LoneCall>()
  const shared: LoneCallOptions = { ticker, maxQueuedBytes, log, onend: ended => open.delete(ended) }
  const tools = new ToolHeaders(connect, log)
  let closing = false

  function handle (request: FastifyRequest, reply: FastifyReply, post: Post): void {
    const { body } = post
    checkBatch(body, LATEST_MODERN_REVISION)
    const [message] = body.messages as [Message]
    if (message.kind === 'response') throw mcpError('MCP_ERR_INVALID_REQUEST', 'it is a response, and there was no request')
    if (message.kind === 'notification') {
      // there is nothing that one could be about: closing the response is what cancels
      reply.code(202).send()
      return
    }
    checkModernRequest(request, message)
    if (message.method === LISTEN) checkAcceptsStream(request)
    checkRoom()
    const principal = principalOf(request)
    const mismatch = message.method === 'tools/call' ? tools.check(request, principal, message) : undefined
    if (typeof mismatch === 'string') throw mcpError('MCP_ERR_HEADER_MISMATCH', mismatch)

    // a call of nobody would never end
    if (hasLeft(reply)) return
    const call = new ModernCall(shared, reply, post, message)
    open.add(call)
    if (mismatch === undefined) pass(call, request, principal, message)
    else void passLater(call, mismatch, () => pass(call, request, principal, message))
  }

  function pass (call: ModernCall, request: FastifyRequest, principal: string | undefined, message: Message): void {
    call.open(connect, { id: String(request.id), principal, request, log, era: 'modern' })
    call.receive(withTraceContext(request, message))
  }

  /** The headers of the tool's parameters have to be learned first. */
  async function passLater (call: ModernCall, judged: Promise<string | undefined>, goOn: () => void): Promise<void> {
    try {
      const mismatch = await judged
      if (call.ended) return
      if (mismatch === undefined) goOn()
      else call.fail(mcpError('MCP_ERR_HEADER_MISMATCH', mismatch))
    } catch (err) {
      log.error({ err }, 'a call could not be passed on')
      call.fail(isOurs(err) ? err : mcpError('MCP_ERR_STOPPED'))
    }
  }

  function checkRoom (): void {
    if (closing) throw mcpError('MCP_ERR_CLOSING')
    if (open.size >= maxSessions) throw mcpError('MCP_ERR_SESSION_LIMIT', maxSessions)
  }

  async function close (): Promise<void> {
    closing = true
    try {
      await closeGracefully([...open], closeGrace, ticker)
    } finally {
      tools.close()
    }
  }

  return { post: handle, close }
}

function isOurs (error: unknown): error is CodedError {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('MCP_ERR_')
}
