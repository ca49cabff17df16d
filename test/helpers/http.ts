import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'

export const JSON_AND_STREAM = 'application/json, text/event-stream'

/** A JSON-RPC message for a test: anything goes, also what is wrong. */
export type Json = string | Record<string, unknown> | unknown[]

/** Posts a body to the stream endpoint, as MCP clients do. */
export async function post (app: FastifyInstance, body: Json, headers: Record<string, string> = {}, url = '/stream'): Promise<LightMyRequestResponse> {
  const options: InjectOptions = {
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', accept: JSON_AND_STREAM, ...headers },
    payload: typeof body === 'string' ? body : JSON.stringify(body),
  }
  // awaited here: an injection that nobody waits for is never made
  return await app.inject(options)
}

/** Opens a session and returns the headers that name it. */
export async function initialize (app: FastifyInstance, { revision = '2025-06-18', capabilities = {}, headers = {}, url = '/stream' }: { revision?: string, capabilities?: object, headers?: Record<string, string>, url?: string } = {}): Promise<Record<string, string>> {
  const answer = await post(app, { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: revision, capabilities, clientInfo: { name: 'test', version: '1' } } }, headers, url)
  if (answer.statusCode !== 200) throw new Error(`initialize: ${answer.statusCode} ${answer.body}`)
  const session = { 'mcp-session-id': String(answer.headers['mcp-session-id']), 'mcp-protocol-version': revision, ...headers }
  await post(app, { jsonrpc: '2.0', method: 'notifications/initialized' }, session, url)
  return session
}

/** A `tools/call` of the test child. */
export function call (id: string | number, name: string, args: object = {}, meta?: object): Record<string, unknown> {
  return { jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, ...(meta !== undefined && { _meta: meta }) } }
}

/** The events of a finished event stream. */
export function events (body: string): Array<{ id?: string, event?: string, data: string }> {
  return body.split('\n\n').filter(block => block !== '' && !block.startsWith(':')).map((block) => {
    const event: { id?: string, event?: string, data: string } = { data: '' }
    for (const line of block.split('\n')) {
      const [name = '', ...rest] = line.split(': ')
      if (name === 'data' || name === 'id' || name === 'event') event[name] = rest.join(': ')
    }
    return event
  })
}

/** The messages of a finished event stream. */
export function messages (body: string): Array<Record<string, unknown>> {
  return events(body).filter(({ data }) => data !== '').map(({ data }) => JSON.parse(data) as Record<string, unknown>)
}

/** The answer in a response that may be JSON or an event stream: something else may have been said before it. */
export function answerOf (response: LightMyRequestResponse): Record<string, unknown> | undefined {
  return String(response.headers['content-type']).startsWith('text/event-stream') ? messages(response.body).at(-1) : response.json<Record<string, unknown>>()
}
