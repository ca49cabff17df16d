import type { ConnectContext, Connection, Message, Transport } from '@mcp-proxy/protocol'
import { Party } from './party.js'
import { SessionMemory } from './session-memory.js'
import { SseSession } from './sse-session.js'
import { StreamSession } from './stream-session.js'
import type { Http } from './http.js'
import type { RemoteKind } from './remote-kind.js'
import type { RemoteSettings } from './options.js'

/** A party that shakes hands, and its session with the server: over Streamable HTTP, or where the server has none, HTTP+SSE. */
export class LegacyRemote implements Connection {
  readonly #http: Http
  readonly #settings: RemoteSettings
  readonly #kind: RemoteKind
  readonly #transport: Transport
  readonly #party: Party
  readonly #memory = new SessionMemory()
  #session: StreamSession | SseSession | undefined

  constructor (transport: Transport, context: ConnectContext, { http, settings, kind }: { http: Http, settings: RemoteSettings, kind: RemoteKind }) {
    this.#http = http
    this.#settings = settings
    this.#kind = kind
    this.#transport = transport
    this.#party = new Party(transport, context)
    transport.onmessage = message => this.#receive(message)
  }

  async close (): Promise<void> {
    this.#transport.onmessage = undefined
    await this.#session?.close()
    this.#party.leave()
  }

  #receive (message: Message): void {
    this.#session ??= this.#kind.transport === 'sse' ? this.#sse() : this.#stream()
    this.#session.receive(message)
  }

  #stream (): StreamSession {
    return new StreamSession({
      ...this.#common(),
      onstream: () => this.#kind.learnTransport('stream'),
      onintroduced: () => this.#kind.learnLegacy(),
      onrefused: () => this.#kind.transport === undefined,
      onhandover: (messages) => {
        const session = this.#sse()
        this.#session = session
        for (const message of messages) session.receive(message)
      },
    })
  }

  #sse (): SseSession {
    return new SseSession({
      ...this.#common(),
      onsse: () => {
        this.#kind.learnTransport('sse')
        this.#kind.learnLegacy()
      },
      // the next message may find a server
      onabsent: () => { this.#session = undefined },
    })
  }

  #common (): { http: Http, settings: RemoteSettings, party: Party, memory: SessionMemory } {
    return { http: this.#http, settings: this.#settings, party: this.#party, memory: this.#memory }
  }
}
