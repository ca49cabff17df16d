import t from 'tap'
import { INTERNAL_ERROR, INVALID_REQUEST, MCP_ERROR_CODES, checkInteger, isLegacyRevision, mcpError, toRpcError, type CodedError, type McpErrorCode } from '@mcp-proxy/protocol'

t.test('every error has a status, a JSON-RPC code, a message and its name', async (t) => {
  t.ok(MCP_ERROR_CODES.length > 20)
  for (const code of MCP_ERROR_CODES) {
    t.match(code, /^MCP_ERR_[A-Z_]+$/)
    const error = mcpError(code as McpErrorCode, 1, 2, 3)
    t.type(error, Error)
    t.equal(error.code, code)
    t.ok(error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode <= 599, code)
    const rpc = toRpcError(error)
    t.ok(Number.isInteger(rpc.code) && rpc.code <= -32000 && rpc.code >= -32768, code)
    t.equal(rpc.message, error.message)
    t.same(rpc.data, { code })
    t.notMatch(error.message, /%[sd]/, 'all places of the message are filled')
  }
})

t.test('the codes that clients know by number', async (t) => {
  const codes: Array<[McpErrorCode, number, number]> = [
    ['MCP_ERR_PARSE', 400, -32700],
    ['MCP_ERR_INVALID_REQUEST', 400, -32600],
    ['MCP_ERR_BODY_TOO_LARGE', 413, -32600],
    ['MCP_ERR_ACCEPT', 406, -32600],
    ['MCP_ERR_CONTENT_TYPE', 415, -32600],
    ['MCP_ERR_METHOD_NOT_ALLOWED', 405, -32600],
    ['MCP_ERR_SESSION_REQUIRED', 400, -32600],
    ['MCP_ERR_SESSION_NOT_FOUND', 404, -32001],
    ['MCP_ERR_HOST', 403, -32600],
    ['MCP_ERR_ORIGIN', 403, -32600],
    ['MCP_ERR_CHILD_EXITED', 502, -32000],
  ]
  for (const [code, status, rpc] of codes) {
    const error = mcpError(code)
    t.equal(error.statusCode, status, code)
    t.equal(toRpcError(error).code, rpc, code)
  }
})

t.test('an error shows the offending value and keeps its cause', async (t) => {
  const cause = new Error('ENOENT')
  const error = mcpError('MCP_ERR_CHILD_START', 'my %s server', 'no such file', { cause })
  t.equal(error.message, 'The MCP server my %s server could not be started: no such file', 'a value is no format')
  t.equal(error.cause, cause)
})

t.test('errors of others keep their name and get a code by their status', async (t) => {
  const make = (statusCode?: number): CodedError => Object.assign(new Error('m'), { code: 'FST_ERR_X', statusCode })
  t.same(toRpcError(make(413)), { code: INVALID_REQUEST, message: 'm', data: { code: 'FST_ERR_X' } })
  t.same(toRpcError(make(500)), { code: INTERNAL_ERROR, message: 'm', data: { code: 'FST_ERR_X' } })
  t.same(toRpcError(make()), { code: INTERNAL_ERROR, message: 'm', data: { code: 'FST_ERR_X' } })
  t.equal(toRpcError(Object.assign(make(400), { code: 'toString' })).code, INVALID_REQUEST)
})

t.test('an error tells a client what it may know, never stderr', async (t) => {
  const error = Object.assign(mcpError('MCP_ERR_VERSION', '1999'), { data: { supported: ['a'] }, stderr: ['secret'] })
  t.same(toRpcError(error), { code: -32022, message: error.message, data: { code: 'MCP_ERR_VERSION', supported: ['a'] } })
})

t.test('a whole number is taken within its bounds', async (t) => {
  t.equal(checkInteger('port', 0), 0)
  t.equal(checkInteger('port', 65535, 0, 65535), 65535)
  t.equal(checkInteger('port', Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)
  const refused: Array<[unknown, string]> = [
    [-1, '-1'], [65536, '65536'], [1.5, '1.5'], [NaN, 'NaN'], [Infinity, 'Infinity'], ['80', '"80"'], [null, 'null'], [undefined, 'undefined'],
    [true, 'true'], [5n, '5n'], [[80], '[ 80 ]'],
  ]
  for (const [value, shown] of refused) {
    t.throws(() => checkInteger('port', value, 0, 65535), { code: 'MCP_ERR_OPTION', message: `Option port must be a whole number from 0 to 65535, not ${shown}` }, shown)
  }
  t.throws(() => checkInteger('size', 5, 1024), { message: 'Option size must be a whole number of at least 1024, not 5' })
})

t.test('legacy revisions are known by name', async (t) => {
  for (const revision of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) t.ok(isLegacyRevision(revision))
  for (const revision of ['2026-07-28', '', 'toString', undefined, null, 20250618]) t.notOk(isLegacyRevision(revision))
})
