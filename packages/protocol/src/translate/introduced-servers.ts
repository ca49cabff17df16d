import { mcpError, type CodedError } from '../errors.js'
import { Message } from '../message.js'
import { LATEST_LEGACY_REVISION, PROXY_INFO } from '../revisions.js'
import type { LegacyServer, LegacySource, Need } from './legacy-source.js'
import type { Connect, ConnectContext, Connection, SendOptions, Transport } from '../transport.js'

export interface IntroducedServersOptions {
  /** What the server is called in errors. @default 'mcp-server' */
  readonly name?: string | undefined
  /** Milliseconds that a handshake may take. @default 60_000 */
  readonly startTimeout?: number | undefined
  /** Servers of one kind that are kept for the next request, and for how many milliseconds. @default 4, 60_000 */
  readonly maxIdle?: number | undefined
  readonly idleTimeout?: number | undefined
}

type Settings = { readonly [Name in keyof IntroducedServersOptions]-?: NonNullable<IntroducedServersOptions[Name]> }

/** A server that was shaken hands with, and whom it serves now. */
interface Introduced {
  readonly key: string
  readonly answer: Message
  readonly transport: Transport
  readonly connection: Connection
  /** What it has asked while nobody was there. */
  readonly early: Message[]
  party: Transport | undefined
  /** The server has ended the connection. */
  ended: boolean
  idle: NodeJS.Timeout | undefined
}

const INITIALIZE_ID = '"mcp-proxy-initialize"'
const MAX_EARLY = 20

/**
 * Servers for requests of clients that do not shake hands, from a {@link Connect} whose answering side wants that: each
 * request has one to itself while it lasts. One that was asked nothing in return serves the next client of the same kind.
 */
export class IntroducedServers implements LegacySource {
  readonly #connect: Connect
  readonly #settings: Settings
  readonly #idle = new Map<string, Introduced[]>()
  readonly #all = new Set<Introduced>()
  #closed = false

  constructor (connect: Connect, { name = 'mcp-server', startTimeout = 60_000, maxIdle = 4, idleTimeout = 60_000 }: IntroducedServersOptions = {}) {
    this.#connect = connect
    this.#settings = { name, startTimeout, maxIdle, idleTimeout }
  }

  open (need: Need, context: ConnectContext): LegacyServer | Promise<LegacyServer> {
    const introduction = need.introduction ?? JSON.stringify({ protocolVersion: LATEST_LEGACY_REVISION, capabilities: {}, clientInfo: PROXY_INFO })
    // one user's server may know who that is, by the headers of its session
    const key = `${context.principal ?? ''}\n${introduction}`
    const kept = this.#take(key)
    return kept === undefined ? this.#introduce(key, introduction, context, need.signal()).then(server => this.#lend(server)) : this.#lend(kept)
  }

  async close (): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#all].map(server => this.#end(server)))
  }

  #take (key: string): Introduced | undefined {
    const server = this.#idle.get(key)?.pop()
    if (this.#idle.get(key)?.length === 0) this.#idle.delete(key)
    clearTimeout(server?.idle)
    return server
  }

  async #introduce (key: string, introduction: string, context: ConnectContext, signal: AbortSignal): Promise<Introduced> {
    if (this.#closed) throw mcpError('MCP_ERR_STOPPED')
    const { name, startTimeout } = this.#settings
    return await new Promise((resolve, reject) => {
      const fail = (error: CodedError): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', leave)
        void connection.close()
        reject(error)
      }
      const leave = (): void => fail(mcpError('MCP_ERR_STOPPED'))
      const timer = setTimeout(() => fail(mcpError('MCP_ERR_CHILD_HANDSHAKE', name, `no answer to initialize within ${startTimeout} ms`)), startTimeout)
      let server: Introduced | undefined
      const transport: Transport = {
        send: (message, options) => {
          if (server !== undefined) return this.#heard(server, message, options)
          if (message.rawId !== INITIALIZE_ID || message.kind !== 'response') return
          const refusal = refusalOf(message)
          if (refusal !== undefined) {
            fail(mcpError('MCP_ERR_CHILD_HANDSHAKE', name, refusal))
            return
          }
          clearTimeout(timer)
          signal.removeEventListener('abort', leave)
          server = { key, answer: message, transport, connection, early: [], party: undefined, ended: false, idle: undefined }
          this.#all.add(server)
          transport.onmessage?.(Message.notification('notifications/initialized'))
          resolve(server)
        },
        close: () => {
          if (server === undefined) fail(mcpError('MCP_ERR_CHILD_EXITED', name, 'it has closed the connection'))
          else this.#lost(server)
        },
      }
      const connection = this.#connect(transport, { ...context, era: 'legacy', request: context.request })
      signal.addEventListener('abort', leave)
      if (signal.aborted) leave()
      else transport.onmessage?.(Message.request(INITIALIZE_ID, 'initialize', introduction))
    })
  }

  #heard (server: Introduced, message: Message, options: SendOptions | undefined): void | Promise<void> {
    if (server.party !== undefined) return server.party.send(message, options)
    if (message.kind === 'request' && server.early.length < MAX_EARLY) server.early.push(message)
  }

  #lost (server: Introduced): void {
    server.ended = true
    this.#forget(server)
    void server.party?.close()
  }

  #lend (server: Introduced): LegacyServer {
    return { initializeAnswer: server.answer, alone: true, connect: party => this.#join(server, party) }
  }

  #join (server: Introduced, party: Transport): Connection {
    const open = new Set<string>()
    let clean = true
    server.party = {
      send: (message, options) => {
        if (message.kind === 'response' && message.rawId !== undefined) open.delete(message.rawId)
        // it knows something of its client from now on, or is in doubt
        if (message.kind === 'request' || options?.local === true) clean = false
        return party.send(message, options)
      },
      close: () => party.close(),
    }
    party.onmessage = (message) => {
      if (message.kind === 'request') open.add(message.rawId as string)
      // it would go on telling the next client what this one has asked for
      if (message.method === 'resources/subscribe') clean = false
      server.transport.onmessage?.(message)
    }
    for (const message of server.early.splice(0)) void server.party.send(message)
    let closed = false
    return {
      close: async () => {
        if (closed) return
        closed = true
        server.party = undefined
        party.onmessage = undefined
        if (server.ended || !clean || open.size > 0 || this.#closed) await this.#end(server)
        else this.#keep(server)
      }
    }
  }

  #keep (server: Introduced): void {
    const kept = this.#idle.get(server.key) ?? []
    if (kept.length >= this.#settings.maxIdle) {
      void this.#end(server)
      return
    }
    this.#idle.set(server.key, [...kept, server])
    server.idle = setTimeout(() => { void this.#end(server) }, this.#settings.idleTimeout).unref()
  }

  #forget (server: Introduced): void {
    clearTimeout(server.idle)
    this.#all.delete(server)
    const kept = this.#idle.get(server.key)?.filter(other => other !== server) ?? []
    if (kept.length === 0) this.#idle.delete(server.key)
    else this.#idle.set(server.key, kept)
  }

  async #end (server: Introduced): Promise<void> {
    this.#forget(server)
    await server.connection.close()
  }
}

/** Why an answer is no handshake. Answers of servers are not parsed when they are read: what looked like JSON may be none. */
function refusalOf (answer: Message): string | undefined {
  try {
    return answer.failed || answer.error !== undefined ? answer.error?.message ?? 'it was refused' : undefined
  } catch {
    return 'its answer is not JSON'
  }
}
