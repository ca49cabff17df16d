import type { LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'

/** Expects a JSON-RPC error with its HTTP status, with the id where the body showed one, and without a session. */
export function refused (t: Test, answer: LightMyRequestResponse, status: number, rpc: number, code: string, id?: unknown): void {
  t.equal(answer.statusCode, status)
  t.match(answer.headers['content-type'], /^application\/json/)
  const body = answer.json<Record<string, unknown>>()
  t.match(body, { jsonrpc: '2.0', error: { code: rpc, message: String, data: { code } } })
  t.equal(body['id'], id)
  t.notOk('mcp-session-id' in answer.headers)
}
