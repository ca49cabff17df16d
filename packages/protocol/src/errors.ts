import { inspect } from 'node:util'
import { createError, type FastifyErrorConstructor } from '@fastify/error'
import { INTERNAL_ERROR, INVALID_REQUEST, type JsonRpcErrorObject } from './json-rpc.js'

/**
 * Every error of every package: HTTP status, JSON-RPC code, message with the offending value. `docs/errors.md` has a row
 * for each that says how to solve it.
 */
const table = {
  // what a client sent
  MCP_ERR_PARSE: [400, -32700, 'The body is not JSON'],
  MCP_ERR_INVALID_REQUEST: [400, -32600, 'The body is not a JSON-RPC message: %s'],
  MCP_ERR_BATCH: [400, -32600, 'A batch is not part of revision %s: send one message per request'],
  MCP_ERR_BATCH_INITIALIZE: [400, -32600, '"initialize" must not be part of a batch'],
  MCP_ERR_ID_IN_USE: [400, -32600, 'A request with the id %s is still open in this session'],
  MCP_ERR_CONTENT_TYPE: [415, -32600, 'Content-Type must be application/json, not %s'],
  MCP_ERR_ACCEPT: [406, -32600, 'Accept must admit %s, and is %s'],
  MCP_ERR_BODY_TOO_LARGE: [413, -32600, 'The body is larger than the limit of %d bytes'],
  MCP_ERR_METHOD_NOT_ALLOWED: [405, -32600, '%s is not allowed here, only %s'],
  MCP_ERR_VERSION: [400, -32022, 'MCP-Protocol-Version %s is not supported'],
  MCP_ERR_META: [400, -32602, 'A request of revision 2026-07-28 needs %s in params._meta'],
  MCP_ERR_HEADER_MISMATCH: [400, -32020, 'Header mismatch: %s'],
  MCP_ERR_METHOD_NOT_FOUND: [404, -32601, 'Method not found: %s'],
  MCP_ERR_CAPABILITY: [400, -32021, 'The client has to declare the capability %s'],
  MCP_ERR_REQUEST_STATE: [400, -32602, 'This requestState is not accepted: %s'],
  MCP_ERR_PARAMS: [400, -32602, 'Invalid params: %s'],
  MCP_ERR_INPUT: [400, -32603, 'The client has not given the input that %s asks for: %s'],
  MCP_ERR_INPUT_ROUNDS: [502, -32603, 'The server has asked for input %d times for one request: no more'],
  MCP_ERR_SERVER_NOT_FOUND: [404, -32600, 'There is no server %s here'],

  // sessions
  MCP_ERR_SESSION_REQUIRED: [400, -32600, 'A session id is required in %s: initialize first'],
  MCP_ERR_NOT_INITIALIZED: [400, -32600, 'The first request must be "initialize"'],
  MCP_ERR_SESSION_INITIALIZED: [400, -32600, 'This session is already initialized'],
  MCP_ERR_SESSION_NOT_FOUND: [404, -32001, 'There is no such session: initialize again'],
  MCP_ERR_SESSION_ENDED: [404, -32000, 'The session has ended'],
  MCP_ERR_SESSION_LIMIT: [503, -32000, 'All %d sessions are in use: try again later'],
  MCP_ERR_STREAM_LIMIT: [503, -32000, 'This session has %d streams open: end one of them'],
  MCP_ERR_SUBSCRIPTION_LIMIT: [503, -32000, 'This session is subscribed to %d resources: unsubscribe from one of them'],
  MCP_ERR_EVENT_NOT_FOUND: [400, -32600, 'The stream of this Last-Event-ID cannot be resumed'],
  MCP_ERR_CLOSING: [503, -32000, 'The server is shutting down'],
  MCP_ERR_WORKER_LOST: [502, -32000, 'The process that had this session has ended before its answer: initialize again'],
  MCP_ERR_WORKER_SILENT: [500, -32603, 'Worker %d has not answered for %d s'],

  // who may ask
  MCP_ERR_HOST: [403, -32600, 'Host %s is not allowed: name it in allowedHosts (--allowed-host)'],
  MCP_ERR_ORIGIN: [403, -32600, 'Origin %s is not allowed: name it in allowedOrigins (--cors-origin)'],
  MCP_ERR_UNAUTHORIZED: [401, -32000, 'The %s header is missing or not accepted'],
  MCP_ERR_CREDENTIALS: [401, -32000, 'The request is not authenticated'],
  MCP_ERR_AUTH_ORDER: [500, -32603, '@mcp-proxy/auth is registered after an MCP endpoint, which it would not guard: register it first'],

  // the server behind the proxy
  MCP_ERR_CHILD_START: [502, -32000, 'The MCP server %s could not be started: %s'],
  MCP_ERR_CHILD_EXITED: [502, -32000, 'The MCP server %s has ended (%s)'],
  MCP_ERR_CHILD_HANDSHAKE: [502, -32000, 'The MCP server %s did not complete the handshake: %s'],
  MCP_ERR_CHILD_MESSAGE_SIZE: [502, -32603, 'The answer of the MCP server is larger than the limit of %d bytes'],
  MCP_ERR_REQUEST_TIMEOUT: [504, -32001, 'No answer from the MCP server within %d ms'],
  MCP_ERR_CHILD_UNAVAILABLE: [503, -32000, 'The MCP server %s keeps failing and is left alone: try again in %d s'],
  MCP_ERR_CHILD_BUSY: [503, -32000, 'The MCP server %s does not read what it is sent: try again later'],
  MCP_ERR_CHILD_LIMIT: [503, -32000, 'All %d processes of the MCP server are in use: try again later'],
  MCP_ERR_CALL_LIMIT: [503, -32000, 'This client has %d calls open: wait for an answer'],
  MCP_ERR_STOPPED: [503, -32000, 'The proxy has stopped the MCP server'],
  MCP_ERR_CREATE_SERVER: [502, -32000, 'The MCP server %s could not be made'],
  MCP_ERR_CALLBACK: [500, -32603, '%s cannot be answered: this server is shared and the proxy cannot tell which client is meant. Use isolation "auto" or "session"'],

  // the server at a URL
  MCP_ERR_REMOTE_UNREACHABLE: [502, -32000, 'The MCP server %s cannot be reached: %s'],
  MCP_ERR_REMOTE_UNAUTHORIZED: [502, -32000, 'The MCP server %s wants other credentials: %s'],
  MCP_ERR_REMOTE_STATUS: [502, -32000, 'The MCP server %s has answered with HTTP status %d'],
  MCP_ERR_REMOTE_PROTOCOL: [502, -32603, 'What answers as %s is no MCP server: %s'],
  MCP_ERR_REMOTE_ENDED: [502, -32000, 'The MCP server %s has ended the connection before its answer'],
  MCP_ERR_REMOTE_MESSAGE_SIZE: [502, -32603, 'A message of the MCP server %s is larger than the limit of %d bytes'],

  // options, at start
  MCP_ERR_OPTION: [500, -32603, 'Option %s must be %s, not %s'],
  MCP_ERR_STDIO_IN_USE: [500, -32603, 'Configuration %d needs a stdin and a stdout of its own: a process has one of each, and another configuration has it'],
  MCP_ERR_COMMAND: [500, -32603, 'The command line cannot be split: %s'],
  MCP_ERR_NO_SERVER: [500, -32603, 'Nothing to serve: give the option "command", "url" or "createServer", or register @mcp-proxy/stdio-bridge first'],
} as const

/** The name of an error in the table. */
export type McpErrorCode = keyof typeof table

/** An error with a code of Fastify's or ours, and the HTTP status it stands for. */
export interface CodedError extends Error {
  readonly code: string
  readonly statusCode?: number | undefined
  /** Seconds after which it may be tried again. */
  readonly retryAfter?: number | undefined
  /** The last lines a server wrote to stderr before it was lost. For the operator: clients never see it. */
  readonly stderr?: readonly string[] | undefined
  /** More for the client, beside the code. */
  readonly data?: Readonly<Record<string, unknown>> | undefined
}

const constructors = new Map<string, FastifyErrorConstructor>(
  Object.entries(table).map(([code, [status, , message]]) => [code, createError(code, message, status)])
)

/** All codes, in the order of the table. */
export const MCP_ERROR_CODES: readonly string[] = [...constructors.keys()]

/** An error of the table; `values` fill its message, a last `{ cause }` becomes its cause. */
export function mcpError (code: McpErrorCode, ...values: Array<string | number | { cause: unknown }>): CodedError {
  const Constructor = constructors.get(code) as FastifyErrorConstructor
  return new Constructor(...values) as CodedError
}

/** What an error looks like to a JSON-RPC client; `data.code` is the coded error's name. */
export function toRpcError (error: CodedError): JsonRpcErrorObject {
  const own = Object.hasOwn(table, error.code) ? table[error.code as McpErrorCode] : undefined
  const code = own?.[1] ?? ((error.statusCode ?? 500) < 500 ? INVALID_REQUEST : INTERNAL_ERROR)
  return { code, message: error.message, data: { code: error.code, ...error.data } }
}

/** @throws MCP_ERR_OPTION unless the value is a whole number in the bounds. */
export function checkInteger (name: string, value: unknown, min = 0, max: number = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number
  const bound = max === Number.MAX_SAFE_INTEGER ? `a whole number of at least ${min}` : `a whole number from ${min} to ${max}`
  // JSON has no NaN and no BigInt
  throw mcpError('MCP_ERR_OPTION', name, bound, typeof value === 'string' ? JSON.stringify(value) : inspect(value, { depth: 0 }))
}

/** Node fires a timer that is longer than this at once. */
const MAX_TIMER = 2 ** 31 - 1

/** @throws MCP_ERR_OPTION unless the value is a number of milliseconds that a timer can wait. */
export function checkMilliseconds (name: string, value: unknown, min = 0): number {
  return checkInteger(name, value, min, MAX_TIMER)
}
