import { Message, isObject } from '@mcp-proxy/protocol'

/** Resources of which it is remembered that the party has subscribed to them. */
const MAX_SUBSCRIPTIONS = 1_000
/** Lists that a server may tell of when they change. */
const LISTS = ['tools', 'prompts', 'resources'] as const

/** What a party has said that a new session has to know too. */
export class SessionMemory {
  #initialize: Message | undefined
  #logLevel: Message | undefined
  readonly #subscriptions = new Map<unknown, Message>()

  /** `undefined` until the party has shaken hands. */
  get initialize (): Message | undefined { return this.#initialize }

  note (message: Message): void {
    const { method } = message
    if (method === 'initialize') this.#initialize = message
    else if (method === 'logging/setLevel') this.#logLevel = message
    else if (method === 'resources/unsubscribe') this.#subscriptions.delete(uriOf(message))
    else if (method === 'resources/subscribe' && this.#subscriptions.size < MAX_SUBSCRIPTIONS) this.#subscriptions.set(uriOf(message), message)
  }

  /** Requests that repeat what was said since the handshake. */
  repeat (): Message[] {
    return [...(this.#logLevel === undefined ? [] : [this.#logLevel]), ...this.#subscriptions.values()]
  }
}

function uriOf ({ params }: Message): unknown {
  return params?.['uri']
}

/** Says that the lists which a server offers may have changed, by its answer to `initialize`. */
export function changes (initializeAnswer: Message): Message[] {
  const offered = initializeAnswer.result?.['capabilities']
  if (!isObject(offered)) return []
  return LISTS.filter((list) => {
    const capability = offered[list]
    return isObject(capability) && capability['listChanged'] === true
  }).map(list => Message.notification(`notifications/${list}/list_changed`))
}
