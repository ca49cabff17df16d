import { CANCELLED_ID, idKey, mcpError, type Message } from '@mcp-proxy/protocol'
import { Calls, cancellation, type Call } from './calls.js'
import { Outbox } from './outbox.js'
import type { Party } from './party.js'
import type { RemoteSettings } from './options.js'
import type { SessionMemory } from './session-memory.js'

export interface ConversationOptions {
  readonly party: Party
  readonly settings: RemoteSettings
  readonly memory: SessionMemory
  /** Sends a message, of which the call is open where it is a request; never rejects. */
  readonly send: (message: Message, call: Call | undefined) => Promise<void>
  /** A call is not open any more, because it was cancelled or took too long. The notification that says so follows, where there is one. */
  readonly onwithdrawn: (call: Call, notification: Message | undefined) => void
}

/** What a party says in a session and is to hear, whatever the transport: its messages in their order, and its open calls. */
export class Conversation {
  readonly calls: Calls
  readonly outbox: Outbox
  readonly #options: ConversationOptions

  constructor (options: ConversationOptions) {
    this.#options = options
    this.calls = new Calls({ party: options.party, settings: options.settings, ontimeout: call => this.#cancel(call) })
    this.outbox = new Outbox({
      send: message => this.#send(message),
      blocks: ({ kind, method }) => kind !== 'request' || method === 'initialize',
      ondrop: message => this.#drop(message),
    })
  }

  /** Takes a message of the party; `false` when it was refused. */
  receive (message: Message): boolean {
    if (message.kind === 'request' && this.calls.open(message) === undefined) return false
    this.#options.memory.note(message)
    if (message.method === 'notifications/cancelled') this.#withdraw(message)
    this.outbox.add(message)
    return true
  }

  /** Asks the server something that the party has not asked. @throws CodedError */
  ask (make: (rawId: string) => Message): Promise<Message> {
    return new Promise((resolve, reject) => {
      const call = this.calls.openOwn(make, { resolve, reject })
      void this.#options.send(call.message, call)
    })
  }

  /** Ends it without a word, and gives away all that has no answer, in its order. */
  handOver (): Message[] {
    const waiting = this.outbox.take()
    const isWaiting = new Set(waiting)
    const sent = this.calls.values().map(({ message }) => message).filter(message => !isWaiting.has(message))
    this.calls.stop()
    return [...sent, ...waiting]
  }

  /** Nothing is sent or expected any more. */
  stop (): void {
    this.outbox.take()
    this.calls.stop()
  }

  async #send (message: Message): Promise<void> {
    const call = message.kind === 'request' ? this.calls.get(message.rawId as string) : undefined
    // given up before it was sent
    if (message.kind === 'request' && call?.message !== message) return
    await this.#options.send(message, call)
  }

  /** The party does not wait any more; the server learns it from the notification. */
  #withdraw (notification: Message): void {
    const call = this.calls.get(idKey(notification.raw(CANCELLED_ID) ?? '') ?? '')
    // a handshake must not be cancelled (2025-11-25, "Cancellation")
    if (call === undefined || call.own !== undefined || call.message.method === 'initialize') return
    this.calls.take(call.rawId)
    this.#options.onwithdrawn(call, notification)
  }

  /** It has taken too long. */
  #cancel (call: Call): void {
    const notification = call.message.method === 'initialize' ? undefined : cancellation(call)
    this.#options.onwithdrawn(call, notification)
    if (notification !== undefined) this.outbox.add(notification)
  }

  #drop (message: Message): void {
    const { settings: { log, name } } = this.#options
    const call = message.kind === 'request' ? this.calls.get(message.rawId as string) : undefined
    if (call !== undefined) this.calls.fail(call, mcpError('MCP_ERR_CHILD_BUSY', name))
    else log.warn({ server: name, method: message.method }, 'dropped a message: too many wait')
  }
}
