import { Client as ClientV2, SSEClientTransport as SseV2, StreamableHTTPClientTransport as StreamV2 } from '@modelcontextprotocol/client'
import { StdioClientTransport as StdioV2 } from '@modelcontextprotocol/client/stdio'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport as SseV1 } from '@modelcontextprotocol/sdk/client/sse.js'
import { StdioClientTransport as StdioV1 } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as StreamV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema, ResultSchema } from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'
import { Wire } from './wire.js'

/** The SDK of a client; `v2-auto` looks for the modern revision first (`server/discover`), `v2-pinned` takes no other. */
export type Sdk = 'v1' | 'v2' | 'v2-auto' | 'v2-pinned'
export type Over = 'sse' | 'stream'

export const OVER: readonly Over[] = ['sse', 'stream']
export const SDKS: readonly Sdk[] = ['v1', 'v2', 'v2-auto']
/** Those that shake hands over every transport, and so have sessions. */
export const SESSION_SDKS: readonly Sdk[] = ['v1', 'v2']

/** Whether a client finds out that it needs no session: the transport of 2024-11-05 has nothing else. */
export function isModern (sdk: Sdk, over: Over): boolean {
  return over === 'stream' && !SESSION_SDKS.includes(sdk)
}

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
  /** `undefined` accepts without saying anything, as it is with a URL. */
  elicit?: (params: { message: string, mode?: string | undefined }) => Content | 'decline' | undefined
  roots?: () => Array<{ uri: string, name: string }>
}

type Content = Record<string, string | number | boolean>

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
  getServerVersion: () => object | undefined
  getServerCapabilities: () => object | undefined
  getInstructions: () => string | undefined
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
  /** Asks for changes in the modern era; resolves with what the server grants. */
  readonly listen: (wanted: Listen) => Promise<{ granted: Listen, close: () => Promise<void> }>
}

/** Changes that a client of the modern era can ask for. */
export interface Listen {
  toolsListChanged?: boolean | undefined
  promptsListChanged?: boolean | undefined
  resourcesListChanged?: boolean | undefined
  resourceSubscriptions?: string[] | undefined
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
  const transport = over === 'sse' ? new SseV2(target, { requestInit: { headers } }) : new StreamV2(target, { requestInit: { headers }, reconnectionOptions })
  return await connectV2(t, clientV2(capabilities, answers, sdk), transport)
}

async function connectV2 (t: Teardown, client: ClientV2, transport: SseV2 | StreamV2 | StdioV2): Promise<OpenClient> {
  const wire = new Wire(transport)
  t.teardown(() => client.close())
  await client.connect(transport)
  const listen: OpenClient['listen'] = async (wanted) => {
    const subscription = await client.listen(wanted as Parameters<typeof client.listen>[0])
    return { granted: subscription.honoredFilter, close: () => subscription.close() }
  }
  return opened(client, wire, (params, options) => client.callTool(params, options), request => client.request(request, z.looseObject({})), transport, listen)
}

/** A client of a server's own stdio, without any proxy. */
export async function openStdio (t: Teardown, { command, env = {}, cwd = process.cwd(), sdk = 'v1', capabilities = {}, answers = {} }: { command: readonly string[], env?: Record<string, string>, cwd?: string, sdk?: Sdk, capabilities?: Declared, answers?: Answers }): Promise<OpenClient> {
  const [program = '', ...args] = command
  if (sdk !== 'v1') return await connectV2(t, clientV2(capabilities, answers, sdk), new StdioV2({ command: program, args, env, cwd, stderr: 'ignore' }))
  const client = clientV1(capabilities, answers)
  const transport = new StdioV1({ command: program, args, env, cwd, stderr: 'ignore' })
  const wire = new Wire(transport)
  t.teardown(() => client.close())
  await client.connect(transport)
  return opened(client, wire, (params, options) => client.callTool(params, undefined, options), request => client.request(request, ResultSchema), transport)
}

function clientV1 (capabilities: Declared, { sample, elicit, roots }: Answers): ClientV1 {
  const client = new ClientV1(CLIENT_INFO, { capabilities })
  if (sample !== undefined) client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => sampled(sample(params)))
  if (elicit !== undefined) client.setRequestHandler(ElicitRequestSchema, ({ params }) => elicited(elicit(params)))
  if (roots !== undefined) client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: roots() }))
  return client
}

const MODES = { v2: 'legacy', 'v2-auto': 'auto', 'v2-pinned': { pin: '2026-07-28' } } as const

function clientV2 (capabilities: Declared, { sample, elicit, roots }: Answers, sdk: Exclude<Sdk, 'v1'>): ClientV2 {
  const client = new ClientV2(CLIENT_INFO, { capabilities, versionNegotiation: { mode: MODES[sdk] } })
  if (sample !== undefined) client.setRequestHandler('sampling/createMessage', ({ params }) => sampled(sample(params)))
  if (elicit !== undefined) client.setRequestHandler('elicitation/create', ({ params }) => elicited(elicit(params)))
  if (roots !== undefined) client.setRequestHandler('roots/list', () => ({ roots: roots() }))
  return client
}

function sampled (text: string): { model: string, role: 'assistant', content: { type: 'text', text: string } } {
  return { model: 'test-model', role: 'assistant', content: { type: 'text', text } }
}

function elicited (content: ReturnType<Required<Answers>['elicit']>): { action: 'accept' | 'decline', content?: Content } {
  if (content === 'decline') return { action: 'decline' }
  return content === undefined ? { action: 'accept' } : { action: 'accept', content }
}

function opened (
  sdk: SdkClient,
  wire: Wire,
  callTool: (params: { name: string, arguments: Record<string, unknown> }, options?: CallOptions) => Promise<object>,
  request: (request: { method: string, params: Record<string, unknown> }) => Promise<Record<string, unknown>>,
  transport: object,
  listen: OpenClient['listen'] = () => Promise.reject(new Error('SDK v1 knows no listening'))
): OpenClient {
  const call: OpenClient['call'] = (name, args = {}, options) => callTool({ name, arguments: args }, options)
  return {
    sdk,
    wire,
    call,
    listen,
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
