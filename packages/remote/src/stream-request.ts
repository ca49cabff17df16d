import { mcpError, type CodedError, type ConnectContext, type Message } from '@mcp-proxy/protocol'
import { discard, type Http } from './http.js'
import { mediaType, readBody, readMessages } from './answer.js'
import type { RemoteSettings } from './options.js'

const MAX_ERROR_BYTES = 1_048_576

/** What a POST accepts (2025-03-26, "Sending Messages to the Server"; the same since). */
const ACCEPTED = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }

/** A POST of one message to a server of Streamable HTTP. */
export function post (http: Http, context: ConnectContext, message: Message, headers: Readonly<Record<string, string>>, signal: AbortSignal, url?: URL): Promise<Response> {
  return http.send(context, { method: 'POST', url, headers: { ...ACCEPTED, ...headers }, body: message.bytes, signal })
}

/** An answer that says why there is none. */
export interface Refusal {
  readonly status: number
  /** What the server says itself, where it is JSON-RPC. */
  readonly message: Message | undefined
  readonly retryAfter: number | undefined
}

/** What the server says itself, under the id of the request: the server may not have read that far. */
export function refusalAnswer (message: Message, rawId: string): Message {
  return readMessages(message.edit([], { id: rawId }).bytes)[0] ?? message
}

/** Reads what an answer with an error status says. */
export async function readRefusal (response: Response, settings: RemoteSettings): Promise<Refusal> {
  const { status } = response
  const seconds = Number(response.headers.get('retry-after') ?? NaN)
  const retryAfter = Number.isSafeInteger(seconds) && seconds >= 0 ? seconds : undefined
  if (mediaType(response) !== 'application/json') {
    await discard(response)
    return { status, retryAfter, message: undefined }
  }
  try {
    const [message] = readMessages(await readBody(response, { name: settings.name, maxMessageBytes: MAX_ERROR_BYTES }))
    return { status, retryAfter, message: message?.kind === 'response' && message.failed ? message : undefined }
  } catch {
    // an error page that is too long, or that broke off, says nothing either
    return { status, retryAfter, message: undefined }
  }
}

/** The error of ours for a refusal in which the server does not speak JSON-RPC. */
export function refusalError ({ status, retryAfter }: Refusal, { name }: RemoteSettings): CodedError {
  const missing = status === 404 || status === 405
  const error = missing ? mcpError('MCP_ERR_REMOTE_PROTOCOL', name, `HTTP status ${status}`) : mcpError('MCP_ERR_REMOTE_STATUS', name, status)
  return retryAfter === undefined ? error : Object.assign(error, { retryAfter })
}

export interface AnswerReader {
  readonly settings: RemoteSettings
  readonly onmessage: (message: Message) => void | Promise<void>
  /** Reads an event stream to its end. */
  readonly follow: (stream: Response) => Promise<void>
  /** Whether the answer is still to come, which in JSON it cannot. @default false */
  readonly isOpen?: (() => boolean) | undefined
}

/**
 * Reads what a request is answered with: JSON, or an event stream.
 * @throws MCP_ERR_REMOTE_PROTOCOL, MCP_ERR_REMOTE_MESSAGE_SIZE, or what the connection broke with
 */
export async function readAnswer (response: Response, { settings, onmessage, follow, isOpen = () => false }: AnswerReader): Promise<void> {
  switch (mediaType(response)) {
    case 'application/json':
      for (const message of readMessages(await readBody(response, settings))) await onmessage(message)
      if (isOpen()) throw mcpError('MCP_ERR_REMOTE_PROTOCOL', settings.name, 'its JSON is not the answer')
      return
    case 'text/event-stream':
      return await follow(response)
    default:
      await discard(response)
      throw mcpError('MCP_ERR_REMOTE_PROTOCOL', settings.name, `HTTP status ${response.status} without an answer`)
  }
}
