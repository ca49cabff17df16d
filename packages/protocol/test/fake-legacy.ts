import { Message, modernOverLegacy, type Connect, type ConnectContext, type FastifyBaseLogger, type LegacyServer, type LegacySource, type ModernOverLegacy, type ModernOverLegacyOptions, type Need, type SendOptions, type Transport } from '@mcp-proxy/protocol'

const PREFIX = 'io.modelcontextprotocol/'
export const VERSION: string = `${PREFIX}protocolVersion`
export const CAPABILITIES: string = `${PREFIX}clientCapabilities`
export const LOG_LEVEL: string = `${PREFIX}logLevel`
export const SERVER_INFO: string = `${PREFIX}serverInfo`
export const SUBSCRIPTION_ID: string = `${PREFIX}subscriptionId`

const silent = { trace () {}, debug () {}, info () {}, warn () {}, error () {}, fatal () {}, level: 'silent', silent () {}, child: () => silent } as unknown as FastifyBaseLogger

export type Json = Record<string, unknown>

/** What stands at a path of member names. */
export function at (value: unknown, ...path: string[]): unknown {
  return path.reduce((value, name) => (value as Json | undefined)?.[name], value)
}

/** A server that one request was given. */
export class FakeServer implements LegacyServer {
  readonly need: Need
  readonly context: ConnectContext
  readonly initializeAnswer: Message
  readonly alone: boolean
  /** What it was sent. */
  readonly heard: Message[] = []
  /** Called for what it is sent. */
  onheard: ((message: Message) => void) | undefined
  /** Called when it has been joined, before it is sent anything. */
  onjoined: (() => void) | undefined
  /** How often it was joined, and given back. */
  joined = 0
  closed = 0
  #party: Transport | undefined

  constructor (need: Need, context: ConnectContext, initializeAnswer: Message, alone: boolean) {
    this.need = need
    this.context = context
    this.initializeAnswer = initializeAnswer
    this.alone = alone
  }

  readonly connect = (transport: Transport): { close: () => Promise<void> } => {
    this.joined++
    this.#party = transport
    transport.onmessage = (message) => {
      this.heard.push(message)
      this.onheard?.(message)
    }
    this.onjoined?.()
    return { close: async () => { this.closed++ } }
  }

  get texts (): string[] { return this.heard.map(message => message.bytes.toString()) }
  get last (): Json { return JSON.parse(this.texts.at(-1) ?? 'null') as Json }

  say (message: string | Json, options?: SendOptions): void {
    const text = typeof message === 'string' ? message : JSON.stringify({ jsonrpc: '2.0', ...message })
    void this.#party?.send(Message.read(Buffer.from(text)) as Message, options)
  }

  /** As a bridge says that its server will not come back. */
  lose (): void { void this.#party?.close() }
}

export interface FakeOptions {
  /** @default as needed */
  alone?: boolean
  /** Text of the answer to `initialize`. */
  initialize?: string
  capabilities?: Json
  /** Called instead of lending a server at once. */
  open?: (server: FakeServer) => LegacyServer | Promise<LegacyServer>
}

/** Lends a server of its own to each request, and keeps them all to look at. */
export class FakeLegacy implements LegacySource {
  readonly servers: FakeServer[] = []
  readonly #options: FakeOptions
  readonly #answer: Message

  constructor (options: FakeOptions = {}) {
    this.#options = options
    const { capabilities = { tools: {}, logging: {} }, initialize = JSON.stringify({ protocolVersion: '2025-11-25', capabilities, serverInfo: { name: 'fake', version: '1' } }) } = options
    this.#answer = Message.result('0', initialize)
  }

  open (need: Need, context: ConnectContext): LegacyServer | Promise<LegacyServer> {
    const server = new FakeServer(need, context, this.#answer, this.#options.alone ?? need.alone)
    this.servers.push(server)
    return this.#options.open?.(server) ?? server
  }

  get last (): FakeServer { return this.servers.at(-1) as FakeServer }
}

/** A modern client on one connection. */
export class FakeClient {
  readonly got: Array<{ message: Message, options: SendOptions | undefined }> = []
  readonly close: () => Promise<void>
  readonly #transport: Transport

  constructor (connect: Connect, principal?: string) {
    this.#transport = { send: (message, options) => { this.got.push({ message, options }) }, close: () => {} }
    const connection = connect(this.#transport, { id: 'c', principal, request: undefined, log: silent })
    this.close = async () => { await connection.close() }
  }

  /** Bytes as they are. */
  write (text: string): void {
    this.#transport.onmessage?.(Message.parse(Buffer.from(text)) as Message)
  }

  ask (id: number | string, method: string, params: Json = {}, meta: Json = {}): void {
    const { capabilities = {}, ...others } = meta
    this.write(JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta: { [VERSION]: '2026-07-28', [CAPABILITIES]: capabilities, ...others } } }))
  }

  notify (method: string, params: Json): void {
    this.write(JSON.stringify({ jsonrpc: '2.0', method, params }))
  }

  get texts (): string[] { return this.got.map(({ message }) => message.bytes.toString()) }
  get messages (): Json[] { return this.texts.map(text => JSON.parse(text) as Json) }
  get last (): Json { return this.messages.at(-1) as Json }
  get options (): SendOptions | undefined { return this.got.at(-1)?.options }
}

export interface Setup {
  source: FakeLegacy
  connect: ModernOverLegacy
  client: FakeClient
}

export function setUp (fake: FakeOptions = {}, options: ModernOverLegacyOptions = {}): Setup {
  const source = new FakeLegacy(fake)
  const connect = modernOverLegacy(source, { gather: 0, ...options })
  return { source, connect, client: new FakeClient(connect) }
}

/** Waits until something holds. */
export async function until (holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 1))
}
