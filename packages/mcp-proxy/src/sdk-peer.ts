import { CONNECTION_CLOSED, INTERNAL_ERROR, REQUEST_TIMEOUT, isObject, type Id } from '@mcp-proxy/protocol'

/** A request or a notification as the SDKs' objects take it. */
export interface SdkMessage {
  method: string
  params?: Record<string, unknown> | undefined
}

/**
 * What `Server` and `Client` of the MCP SDK have in common, in v1 and v2, as far as `proxyServer` needs it. Parameters are
 * `never` where the two differ.
 */
export interface SdkPeer {
  readonly transport?: unknown
  request (request: SdkMessage, resultSchema: never, options?: never): Promise<unknown>
  notification (notification: SdkMessage, options?: never): Promise<void>
  removeRequestHandler (method: never): void
  fallbackRequestHandler?: ((request: never, extra: never) => Promise<object>) | undefined
  fallbackNotificationHandler?: ((notification: never) => Promise<void>) | undefined
  onclose?: (() => void) | undefined
  onerror?: ((error: Error) => void) | undefined
}

/** How a request is sent. */
export interface SdkRequestOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds. */
  readonly timeout: number
  readonly relatedRequestId?: Id | undefined
}

/** Lets every result through as it is: v1 calls `safeParse` where a schema is not one of Zod 4, v2 takes a Standard Schema. */
const ANY_RESULT = {
  parse: (data: unknown): unknown => data,
  safeParse: (data: unknown): { success: true, data: unknown } => ({ success: true, data }),
  '~standard': { version: 1, vendor: 'mcp-proxy', validate: (value: unknown): { value: unknown } => ({ value }) },
}

/** Asks, and resolves with whatever is answered. */
export async function ask (peer: SdkPeer, { method, params }: SdkMessage, { signal, timeout, relatedRequestId }: SdkRequestOptions): Promise<Record<string, unknown>> {
  const options = {
    timeout,
    ...(signal !== undefined && { signal }),
    ...(relatedRequestId !== undefined && { relatedRequestId }),
  }
  // the SDKs have no type in common for these two
  const result = await peer.request({ method, ...(params !== undefined && { params }) }, ANY_RESULT as never, options as never)
  return isObject(result) ? result : {}
}

/** Says something that has no answer. What the other side has not declared that it takes, or cannot be reached with, is lost. */
export async function tell (peer: SdkPeer, { method, params }: SdkMessage, relatedRequestId?: Id): Promise<void> {
  const options = relatedRequestId === undefined ? undefined : { relatedRequestId }
  try {
    await peer.notification({ method, ...(params !== undefined && { params }) }, options as never)
  } catch (error) {
    peer.onerror?.(toError(error))
  }
}

/** What a handler is told of its request, by v1 or v2. */
export function callOf (extra: unknown): { readonly id: Id | undefined, readonly signal: AbortSignal | undefined } {
  const known = isObject(extra) ? extra : {}
  const inner = isObject(known['mcpReq']) ? known['mcpReq'] : known
  const id = inner['id'] ?? inner['requestId']
  const { signal } = inner
  return { id: typeof id === 'string' || typeof id === 'number' ? id : undefined, signal: signal instanceof AbortSignal ? signal : undefined }
}

/** An error that the SDKs answer a request with, code and data and all. */
export class RpcError extends Error {
  readonly code: number
  readonly data?: unknown

  constructor (code: number, message: string, data?: unknown) {
    super(message)
    this.code = code
    if (data !== undefined) this.data = data
  }
}

/** Codes of SDK v2 for what no server has said. */
const SDK_CODES: ReadonlyMap<unknown, number> = new Map([['REQUEST_TIMEOUT', REQUEST_TIMEOUT], ['CONNECTION_CLOSED', CONNECTION_CLOSED], ['NOT_CONNECTED', CONNECTION_CLOSED]])

/** The error that a request has failed with, to be answered to whoever has asked. */
export function toRpc (cause: unknown): RpcError {
  const error = toError(cause)
  const code: unknown = Reflect.get(error, 'code')
  // v1 puts the code before the message, and does so once more where the answer is read
  if (typeof code === 'number' && Number.isSafeInteger(code)) return new RpcError(code, error.name === 'McpError' ? error.message.replace(`MCP error ${code}: `, '') : error.message, Reflect.get(error, 'data'))
  return new RpcError(error.message === 'Not connected' ? CONNECTION_CLOSED : SDK_CODES.get(code) ?? INTERNAL_ERROR, error.message)
}

function toError (error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
