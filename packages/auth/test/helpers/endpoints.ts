import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import { Message, type Connect } from '@mcp-proxy/protocol'
import { mcpSse, type McpSseOptions } from '@mcp-proxy/sse'
import { mcpStream } from '@mcp-proxy/stream'

interface Teardown { teardown: (fn: () => unknown) => void }

export const INITIALIZE = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } } }
export const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }

/** A server that answers everything, and keeps who asked. */
export function answering (principals: Array<string | undefined>): Connect {
  return (transport, { principal }) => {
    principals.push(principal)
    transport.onmessage = ({ kind, rawId, method }) => {
      if (kind === 'request') void transport.send(Message.result(rawId as string, method === 'initialize' ? '{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}' : '{}'))
    }
    return { close: async () => {} }
  }
}

export type Register = (app: FastifyInstance) => unknown

/** An app with a route of its own, what a test registers before the endpoints, and both endpoints. */
export async function build (t: Teardown, register: Register, options: McpSseOptions = {}): Promise<{ app: FastifyInstance, principals: Array<string | undefined> }> {
  const app = Fastify()
  t.teardown(() => app.close())
  const principals: Array<string | undefined> = []
  await register(app)
  app.get('/other', async () => 'other')
  const connect = answering(principals)
  await app.register(mcpStream, { connect, closeGrace: 0, ...options, path: '/stream' })
  await app.register(mcpSse, { connect, closeGrace: 0, ...options })
  await app.ready()
  return { app, principals }
}

export async function post (app: FastifyInstance, headers: Record<string, string> = {}, body: object | string = INITIALIZE, url = '/stream'): Promise<LightMyRequestResponse> {
  return await app.inject({ method: 'POST', url, headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers }, payload: typeof body === 'string' ? body : JSON.stringify(body) })
}

/** The status of an `initialize`. */
export async function status (app: FastifyInstance, headers: Record<string, string> = {}): Promise<number> {
  return (await post(app, headers)).statusCode
}

/** Opens a session and returns the headers that go with it. */
export async function open (app: FastifyInstance, headers: Record<string, string>): Promise<Record<string, string>> {
  return { ...headers, 'mcp-session-id': String((await post(app, headers)).headers['mcp-session-id']) }
}
