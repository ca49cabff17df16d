import { METHOD_NOT_FOUND, Message, isLogLevel, type ConnectContext, type Connection, type Transport } from '@mcp-proxy/protocol'
import { INITIALIZED, answerInitialize, declaresCallbacks } from './handshake.js'
import { LeasedCalls, type LeasedCallsOptions } from './leased-calls.js'
import type { BridgeSettings } from './options.js'
import type { Kind } from './warm-pool.js'

export interface LeaseRouterOptions extends LeasedCallsOptions {
  readonly settings: BridgeSettings
}

/**
 * The answering side of a client that shakes hands and whose calls each get a child of their own (`isolation:
 * 'request'`). What concerns the whole session is answered here: no child of it stays.
 */
export class LeaseRouter implements Connection {
  readonly #settings: BridgeSettings
  readonly #transport: Transport
  readonly #calls: LeasedCalls
  #kind: Kind
  #logLevel: string | undefined
  #closed = false

  constructor (options: LeaseRouterOptions, transport: Transport, context: ConnectContext) {
    this.#settings = options.settings
    this.#kind = plainKind(options.settings)
    this.#transport = transport
    this.#calls = new LeasedCalls(options, transport, context)
    transport.onmessage = message => this.#receive(message)
  }

  async close (): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#transport.onmessage = undefined
    this.#calls.close()
  }

  #receive (message: Message): void {
    if (message.kind === 'request') this.#request(message)
    else if (message.kind === 'response') this.#calls.answer(message)
    else if (message.method !== INITIALIZED.method) this.#calls.notify(message)
  }

  #request (message: Message): void {
    const rawId = message.rawId as string
    switch (message.method) {
      case 'initialize':
        // no callbacks, no name: such clients can share what is kept ready
        if (declaresCallbacks(message)) this.#kind = introducedKind(this.#settings, message.raw(['params']) ?? '{}')
        this.#calls.see(this.#kind, rawId, ({ initializeAnswer }) => {
          if (initializeAnswer !== undefined) void this.#transport.send(answerInitialize(initializeAnswer, message))
        })
        return
      case 'ping':
        void this.#transport.send(Message.result(rawId, '{}'))
        return
      case 'logging/setLevel':
        if (isLogLevel(message.params?.['level'])) this.#logLevel = message.params['level']
        void this.#transport.send(Message.result(rawId, '{}'))
        return
      case 'resources/subscribe':
      case 'resources/unsubscribe':
        void this.#transport.send(Message.error(rawId, { code: METHOD_NOT_FOUND, message: `${message.method} needs a server that stays; this one is started for each call` }))
        return
      default:
        this.#calls.open(this.#kind, message, (mux, peer) => { if (this.#logLevel !== undefined) mux.setLogLevel(peer, this.#logLevel) })
    }
  }
}

/** Children that know no client. */
export function plainKind (settings: BridgeSettings, scope: string = ''): Kind {
  return { name: scope, introduction: undefined, settings }
}

/** Children that know a client by these parameters of `initialize`, as JSON text. */
export function introducedKind (settings: BridgeSettings, introduction: string, scope: string = ''): Kind {
  return { name: `${scope}\n${introduction}`, introduction, settings }
}
