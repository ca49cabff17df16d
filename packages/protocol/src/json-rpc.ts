/** JSON-RPC 2.0 as MCP uses it (every revision, "Base Protocol"): shapes and reserved error codes. */

/** A request id or a progress token. MCP forbids `null`; `1` and `"1"` are different ids. */
export type Id = string | number

/** A message as a plain object, structurally the `JSONRPCMessage` of the MCP SDKs. */
export interface JsonRpcMessage {
  readonly jsonrpc: '2.0'
  readonly id?: Id | undefined
  readonly method?: string | undefined
  readonly params?: Record<string, unknown> | undefined
  readonly result?: Record<string, unknown> | undefined
  readonly error?: JsonRpcErrorObject | undefined
}

/** The `error` member of a failed response. */
export interface JsonRpcErrorObject {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

export const PARSE_ERROR = -32700
export const INVALID_REQUEST = -32600
export const METHOD_NOT_FOUND = -32601
export const INVALID_PARAMS = -32602
export const INTERNAL_ERROR = -32603
/** The server behind the proxy is gone or cannot be reached; the MCP SDKs call it `ConnectionClosed`. */
export const CONNECTION_CLOSED = -32000
/** No answer in time; the MCP SDKs call it `RequestTimeout`. */
export const REQUEST_TIMEOUT = -32001
/** Headers and body do not say the same, or a header is missing (2026-07-28, "Streamable HTTP", Server Validation). */
export const HEADER_MISMATCH = -32020
/** The client has not declared a capability that the request needs (2026-07-28, "Overview", Error Codes). */
export const MISSING_CLIENT_CAPABILITY = -32021
/** The revision of a request is not served (2026-07-28, "Versioning"). */
export const UNSUPPORTED_VERSION = -32022
/** A resource does not exist, in revisions up to 2025-11-25; {@link INVALID_PARAMS} since. */
export const LEGACY_RESOURCE_NOT_FOUND = -32002
/** The user has to visit a URL first: 2025-11-25 only, an `input_required` result since. */
export const URL_ELICITATION_REQUIRED = -32042

/** Whether an error code is one that implementations have made up, and that newer ones should not use any more (2026-07-28, "Overview", Error Codes). */
export function isLegacyCode (code: number): boolean {
  return code <= -32000 && code >= -32019
}
