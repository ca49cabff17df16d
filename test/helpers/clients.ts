import { Client as ClientV2, SSEClientTransport as SseV2, StreamableHTTPClientTransport as StreamV2 } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport as SseV1 } from '@modelcontextprotocol/sdk/client/sse.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as StreamV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema, ResultSchema } from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'
import { Wire } from './wire.js'

/** The SDK of a client; `v2-auto` looks for the modern revision first (`server/discover`). */
export type Sdk = 'v1' | 'v2' | 'v2-auto'
export type Over = 'sse' | 'stream'

export const OVER: readonly Over[] = ['sse', 'stream']
export const SDKS: readonly Sdk[] = ['v1', 'v2', 'v2-auto']

export interface Declared {
  sampling?: Record<string, never>
  elicitation?: { form?: Record<string, never>, url?: Record<string, never> }
  roots?: { listChanged?: boolean }
}

export interface CallOptions {
  signal?: AbortSignal
  onprogress?: (progress: { progress: number, total?: number | undefined, message?: string | undefined }) => void
  timeout?: number
  onresumptiontoken?: (token: string) => void
}

/** What a server may ask a client, and what this one says. */
export interface Answers {
  sample?: (params: unknown) => string
  elicit?: (params: { message: string }) => Record<string, string | number | boolean>
  roots?: () => Array<{ uri: string, name: string }>
}

export interface OpenOptions {
  sdk?: Sdk
  capabilities?: Declared
  answers?: Answers
  headers?: Record<string, string>
  /** Milliseconds before a lost stream is opened again. */
  reconnect?: number
  path?: string
}

/** What the clients of both SDKs have in common. */
export interface SdkClient {
  listTools: (params?: { cursor?: string }) => Promise<object>
  listResources: (params?: { cursor?: string }) => Promise<object>
  listResourceTemplates: (params?: { cursor?: string }) => Promise<object>
  listPrompts: (params?: { cursor?: string }) => Promise<object>
  readResource: (params: { uri: string }) => Promise<object>
  getPrompt: (params: { name: string, arguments?: Record<string, string> }) => Promise<object>
  complete: (params: { ref: { type: 'ref/prompt', name: string } | { type: 'ref/resource', uri: string }, argument: { name: string, value: string }, context?: { arguments?: Record<string, string> } }) => Promise<object>
  setLoggingLevel: (level: 'debug' | 'info' | 'notice' | 'warning' | 'error' | 'critical' | 'alert' | 'emergency') => Promise<object>
  subscribeResource: (params: { uri: string }) => Promise<object>
  unsubscribeResource: (params: { uri: string }) => Promise<object>
  sendRootsListChanged: () => Promise<void>
  ping: () => Promise<object>
  close: () => Promise<void>
}

export interface OpenClient {
  readonly sdk: SdkClient
  readonly wire: Wire
  /** A request that the SDK has no method for. */
  readonly request: (method: string, params: Record<string, unknown>) => Promise<Record<string, unknown>>
  readonly call: (name: string, args?: Record<string, unknown>, options?: CallOptions) => Promise<unknown>
  /** The text of the first content of a call's answer. */
  readonly text: (name: string, args?: Record<string, unknown>, options?: CallOptions) => Promise<string>
  /** Set over stream alone. */
  readonly sessionId: () => string | undefined
  readonly terminate: () => Promise<void>
}

interface Teardown { teardown: (fn: () => unknown) => void }

const CLIENT_INFO = { name: 'test-client', version: '1.0.0' }

/** A connected client of the proxy at `url`, closed with the test. */
export async function openClient (t: Teardown, over: Over, url: string, { sdk = 'v1', capabilities = {}, answers = {}, headers = {}, reconnect = 10, path = over === 'sse' ? '/sse' : '/stream' }: OpenOptions = {}): Promise<OpenClient> {
  const target = new URL(path, url)
  const reconnectionOptions = { initialReconnectionDelay: reconnect, maxReconnectionDelay: reconnect, reconnectionDelayGrowFactor: 1, maxRetries: 5 }
  if (sdk === 'v1') {
    const client = clientV1(capabilities, answers)
    const transport = over === 'sse' ? new SseV1(target, { requestInit: { headers } }) : new StreamV1(target, { requestInit: { headers }, reconnectionOptions })
    const wire = new Wire(transport)
    t.teardown(() => client.close())
    // the SDK is not compiled with exactOptionalPropertyTypes: its own class does not fit its own interface
    await client.connect(transport as Parameters<typeof client.connect>[0])
    return opened(client, wire, (params, options) => client.callTool(params, undefined, options), request => client.request(request, ResultSchema), transport)
  }
  const client = clientV2(capabilities, answers, sdk)
  const transport = over === 'sse' ? new SseV2(target, { requestInit: { headers } }) : new StreamV2(target, { requestInit: { headers }, reconnectionOptions })
  const wire = new Wire(transport)
  t.teardown(() => client.close())
  await client.connect(transport)
  return opened(client, wire, (params, options) => client.callTool(params, options), request => client.request(request, z.looseObject({})), transport)
}

/** A client of a server's own stdio, without any proxy. */
export async function openStdio (t: Teardown, { command, env = {}, capabilities = {}, answers = {} }: { command: readonly string[], env?: Record<string, string>, capabilities?: Declared, answers?: Answers }): Promise<OpenClient> {
  const [program = '', ...args] = command
  const client = clientV1(capabilities, answers)
  const transport = new StdioClientTransport({ command: program, args, env, stderr: 'ignore' })
  const wire = new Wire(transport)
  t.teardown(() => client.close())
  await client.connect(transport)
  return opened(client, wire, (params, options) => client.callTool(params, undefined, options), request => client.request(request, ResultSchema), transport)
}

function clientV1 (capabilities: Declared, { sample, elicit, roots }: Answers): ClientV1 {
  const client = new ClientV1(CLIENT_INFO, { capabilities })
  if (sample !== undefined) client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => sampled(sample(params)))
  if (elicit !== undefined) client.setRequestHandler(ElicitRequestSchema, ({ params }) => ({ action: 'accept', content: elicit(params) }))
  if (roots !== undefined) client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: roots() }))
  return client
}

function clientV2 (capabilities: Declared, { sample, elicit, roots }: Answers, sdk: 'v2' | 'v2-auto'): ClientV2 {
  const client = new ClientV2(CLIENT_INFO, { capabilities, versionNegotiation: { mode: sdk === 'v2' ? 'legacy' : 'auto' } })
  if (sample !== undefined) client.setRequestHandler('sampling/createMessage', ({ params }) => sampled(sample(params)))
  if (elicit !== undefined) client.setRequestHandler('elicitation/create', ({ params }) => ({ action: 'accept', content: elicit(params) }))
  if (roots !== undefined) client.setRequestHandler('roots/list', () => ({ roots: roots() }))
  return client
}

function sampled (text: string): { model: string, role: 'assistant', content: { type: 'text', text: string } } {
  return { model: 'test-model', role: 'assistant', content: { type: 'text', text } }
}

function opened (
  sdk: SdkClient,
  wire: Wire,
  callTool: (params: { name: string, arguments: Record<string, unknown> }, options?: CallOptions) => Promise<object>,
  request: (request: { method: string, params: Record<string, unknown> }) => Promise<Record<string, unknown>>,
  transport: object
): OpenClient {
  const call: OpenClient['call'] = (name, args = {}, options) => callTool({ name, arguments: args }, options)
  return {
    sdk,
    wire,
    call,
    request: (method, params) => request({ method, params }),
    text: async (...args) => {
      const { content } = await call(...args) as { content: Array<{ text: string }> }
      return content[0]?.text ?? ''
    },
    sessionId: () => 'sessionId' in transport && typeof transport.sessionId === 'string' ? transport.sessionId : undefined,
    terminate: async () => {
      if (transport instanceof StreamV1 || transport instanceof StreamV2) await transport.terminateSession()
    },
  }
}
