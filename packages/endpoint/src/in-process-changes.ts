import type { JsonRpcMessage, Message } from '@mcp-proxy/protocol'

/** A connection to a server that lives for one request, a subscription perhaps. */
export interface ChangeListener {
  readonly principal: string | undefined
  /** Passes to the client what another server has said. */
  readonly hear: (change: Message) => void
  /** Whether the client has subscribed to a resource. */
  readonly subscribes: (uri: unknown) => boolean
}

const UPDATED = 'notifications/resources/updated'

/** Whether a server says that something has changed for all its clients. */
export function isChange ({ method }: JsonRpcMessage | Message): boolean {
  return method === UPDATED || method?.endsWith('/list_changed') === true
}

/**
 * What changes in servers that live for one request each: to the client all of them are one server, so a subscription
 * hears what a call has changed. Only those of one user do.
 */
export class InProcessChanges {
  readonly #listeners = new Set<ChangeListener>()

  add (listener: ChangeListener): void {
    this.#listeners.add(listener)
  }

  delete (listener: ChangeListener): void {
    this.#listeners.delete(listener)
  }

  /** Tells all others. */
  tell (from: ChangeListener, change: Message): void {
    for (const listener of this.#listeners) {
      if (listener === from || listener.principal !== from.principal) continue
      if (change.method !== UPDATED || listener.subscribes(change.params?.['uri'])) listener.hear(change)
    }
  }
}
