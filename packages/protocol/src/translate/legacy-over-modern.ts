import { BusyMap } from '../busy.js'
import { idKey } from '../envelope.js'
import { checkInteger, checkMilliseconds, mcpError, type CodedError } from '../errors.js'
import { isLogLevel } from '../log-levels.js'
import { CANCELLED_ID, Message } from '../message.js'
import { SUBSCRIPTION_ID_KEY, metaOf } from '../request-meta.js'
import { LegacyCall } from './legacy-call.js'
import { LegacyHandshake } from './legacy-handshake.js'
import { LegacyParty } from './legacy-party.js'
import { LegacySubscriptions } from './legacy-subscriptions.js'
import { ModernLink } from './modern-link.js'
import { changingLists } from './to-initialize-result.js'
import type { Connect, ConnectContext, Connection, SendOptions, Transport } from '../transport.js'

export interface LegacyOverModernOptions {
  /** What a server is called that does not say so itself. @default 'mcp-server' */
  readonly serverName?: string | undefined
  /** Calls that one client may have open, those among them that wait for the client; one more is refused. @default 1_000 */
  readonly maxCalls?: number | undefined
  /** Milliseconds that a client may take to answer what a server asks it during a call. `0` is for ever. @default 600_000 */
  readonly inputTimeout?: number | undefined
  /** Milliseconds from the end of a subscription that the server has ended until it is opened again. @default 1_000 */
  readonly reopenDelay?: number | undefined
}

type Settings = { readonly [Name in keyof LegacyOverModernOptions]-?: NonNullable<LegacyOverModernOptions[Name]> }

/** Notifications that only a subscription brings (2026-07-28, "Subscriptions"). */
const SUBSCRIBED: ReadonlySet<string> = new Set([
  'notifications/subscriptions/acknowledged',
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
  'notifications/resources/updated',
])

/**
 * Serves clients that shake hands and live in a session (2024-11-05 to 2025-11-25) from a server that speaks 2026-07-28:
 * one connection is one session.
 *
 * @param connect answers parties of 2026-07-28, with many requests at once on one connection as on stdio
 * @throws MCP_ERR_OPTION
 */
export function legacyOverModern (connect: Connect, options: LegacyOverModernOptions = {}): Connect {
  const settings: Settings = {
    serverName: options.serverName ?? 'mcp-server',
    maxCalls: checkInteger('maxCalls', options.maxCalls ?? 1_000, 1),
    inputTimeout: checkMilliseconds('inputTimeout', options.inputTimeout ?? 600_000),
    reopenDelay: checkMilliseconds('reopenDelay', options.reopenDelay ?? 1_000, 1),
  }
  return (transport, context) => new LegacySession(transport, context, connect, settings)
}

class LegacySession implements Connection {
  readonly #transport: Transport
  /** Without the HTTP request, which a session outlives. */
  readonly #context: Pick<ConnectContext, 'id' | 'log' | 'answers'>
  readonly #settings: Settings
  readonly #party: LegacyParty
  readonly #link: ModernLink
  readonly #subscriptions: LegacySubscriptions
  /** What the client waits for, by its raw id. */
  readonly #calls = new BusyMap<string, LegacyCall | LegacyHandshake>()
  /** Lists of which the server tells when they change. */
  #lists: readonly string[] = []
  #closed = false

  constructor (transport: Transport, context: ConnectContext, connect: Connect, settings: Settings) {
    this.#transport = transport
    this.#context = { id: context.id, log: context.log, answers: context.answers }
    this.#settings = settings
    this.#party = new LegacyParty(transport)
    this.#link = new ModernLink(context.log, {
      onnotification: (message, options) => this.#notified(message, options),
      onreached: () => this.#subscriptions.revive(),
      onclose: () => {
        void this.#stop(mcpError('MCP_ERR_STOPPED'))
        void transport.close()
      },
    })
    this.#subscriptions = new LegacySubscriptions({ party: this.#party, link: this.#link, log: context.log, reopenDelay: settings.reopenDelay })
    transport.onmessage = message => this.#receive(message)
    this.#link.open(connect, context)
  }

  async close (): Promise<void> {
    await this.#stop(undefined)
  }

  #receive (message: Message): void {
    if (message.kind === 'request') this.#request(message)
    else if (message.kind === 'notification') this.#notification(message)
    else if (!this.#party.settle(message)) this.#context.log.debug({ connection: this.#context.id }, 'dropped an answer that nobody asked for')
  }

  #request (message: Message): void {
    const rawId = message.rawId as string
    const refusal = this.#refusal(message)
    if (refusal !== undefined) {
      this.#party.refuse(rawId, refusal)
      return
    }
    switch (message.method) {
      case 'initialize':
        this.#start(rawId, new LegacyHandshake(message, {
          party: this.#party,
          link: this.#link,
          serverName: this.#settings.serverName,
          ondiscovered: (answer) => { this.#lists = changingLists(answer) },
          onend: () => { this.#calls.delete(rawId) },
        }))
        return
      case 'logging/setLevel':
        this.#party.setLogLevel(message.params?.['level'] as string)
        void this.#party.tell(Message.result(rawId, '{}'))
        return
      case 'ping':
        void this.#party.tell(Message.result(rawId, '{}'))
        return
      case 'resources/subscribe':
        this.#subscriptions.subscribe(message)
        return
      case 'resources/unsubscribe':
        this.#subscriptions.unsubscribe(message)
        return
      default:
        this.#start(rawId, new LegacyCall(withoutTask(message), {
          party: this.#party,
          link: this.#link,
          answers: this.#context.answers !== false,
          inputTimeout: this.#settings.inputTimeout,
          onend: () => { this.#calls.delete(rawId) },
        }))
    }
  }

  #start (rawId: string, call: LegacyCall | LegacyHandshake): void {
    this.#calls.set(rawId, call)
    call.start()
  }

  /** Why a request is not taken; `undefined` when it is. */
  #refusal (message: Message): CodedError | undefined {
    const { method = '', params } = message
    const rawId = message.rawId as string
    if (this.#calls.has(rawId) || this.#subscriptions.waits(rawId)) return mcpError('MCP_ERR_ID_IN_USE', rawId)
    if (this.#calls.size >= this.#settings.maxCalls) return mcpError('MCP_ERR_CALL_LIMIT', this.#settings.maxCalls)
    // tasks are withheld from the other era; what a client has not subscribed to in its own would never reach it
    if (method.startsWith('tasks/') || method === 'subscriptions/listen') return mcpError('MCP_ERR_METHOD_NOT_FOUND', method)
    if (method === 'logging/setLevel' && !isLogLevel(params?.['level'])) return mcpError('MCP_ERR_PARAMS', '"level" is no log level')
    if (method === 'initialize') return this.#introduce(message)
    return undefined
  }

  #introduce (initialize: Message): CodedError | undefined {
    try {
      this.#party.introduce(initialize)
      return undefined
    } catch (error) {
      return error as CodedError
    }
  }

  #notification (message: Message): void {
    switch (message.method) {
      case 'notifications/initialized':
        if (this.#context.answers !== false) this.#subscriptions.followLists(this.#lists)
        return
      case 'notifications/cancelled': {
        const rawId = idKey(message.raw(CANCELLED_ID) ?? '')
        if (rawId === undefined) return
        this.#calls.get(rawId)?.cancel(message)
        this.#subscriptions.cancel(rawId)
        return
      }
      case 'notifications/progress':
      case 'notifications/roots/list_changed':
        // about requests of the server, which it does not make, and about what it asks for anew each time
        return
      default:
        this.#link.tell(message)
    }
  }

  /** Passes a notification of the server to the client. */
  #notified (message: Message, options: SendOptions | undefined): void | Promise<void> {
    if (Object.hasOwn(metaOf(message), SUBSCRIPTION_ID_KEY)) return this.#subscriptions.heard(message)
    if (message.method === 'notifications/cancelled') {
      this.#subscriptions.ended(message)
      return
    }
    // without the name of a subscription nobody can have asked for it ("Subscriptions", Receiving Notifications)
    if (SUBSCRIBED.has(message.method ?? '')) return
    const about = options?.relatedRequestId
    if (about === undefined) return this.#party.tell(message)
    const clientId = this.#link.askerOf(about)?.clientId
    // what is about a call that is over has come too late
    return clientId === undefined ? undefined : this.#party.tell(message, { ...options, relatedRequestId: clientId })
  }

  /** Ends everything; with an error for those who still wait, unless it is the client who has left. */
  async #stop (error: CodedError | undefined): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#transport.onmessage = undefined
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    for (const call of calls) {
      if (error === undefined) call.stop()
      else call.fail(error)
    }
    this.#subscriptions.stop(error)
    await this.#link.close()
  }
}

/** A server without tasks answers such a call like any other (2025-11-25, "Tasks", Task Support and Handling). */
function withoutTask (request: Message): Message {
  return request.method === 'tools/call' && request.params?.['task'] !== undefined ? request.edit(['params'], { task: undefined }) : request
}
