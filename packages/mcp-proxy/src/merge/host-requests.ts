import { CANCELLED_ID, Message, PROGRESS_TOKEN, REQUEST_PROGRESS_TOKEN, idKey } from '@mcp-proxy/protocol'
import type { Upstream } from './upstream.js'

/** What servers may have asked the client at once. */
const MAX_OPEN = 1_000

interface Asked {
  readonly server: Upstream
  /** The server's own id, as JSON text. */
  readonly rawId: string
  /** The token under which it wants progress, as JSON text. */
  readonly token: string | undefined
}

/** What servers have asked the client: ids and progress tokens of different servers would meet, and get numbers. */
export class HostRequests {
  readonly #asked = new Map<string, Asked>()
  #last = 0

  /** The request as the client sees it; `undefined` when too many are open. */
  add (server: Upstream, request: Message): Message | undefined {
    if (this.#asked.size >= MAX_OPEN) return undefined
    const id = String(++this.#last)
    this.#asked.set(id, { server, rawId: request.rawId as string, token: request.raw(REQUEST_PROGRESS_TOKEN) })
    return request.rewrite(id, [[REQUEST_PROGRESS_TOKEN, id]])
  }

  /** The client's answer, for the server that waits for it. */
  answer (response: Message): { readonly server: Upstream, readonly message: Message } | undefined {
    const id = idKey(response.rawId ?? '') ?? ''
    const asked = this.#asked.get(id)
    if (asked === undefined) return undefined
    this.#asked.delete(id)
    return { server: asked.server, message: response.rewrite(asked.rawId) }
  }

  /** Progress that the client tells, for the server that has asked for it. */
  progress (notification: Message): { readonly server: Upstream, readonly message: Message } | undefined {
    const { server, token } = this.#asked.get(idKey(notification.raw(PROGRESS_TOKEN) ?? '') ?? '') ?? {}
    return server === undefined || token === undefined ? undefined : { server, message: notification.rewrite(undefined, [[PROGRESS_TOKEN, token]]) }
  }

  /** A server does not wait any more: what the client is told, if it was asked. */
  cancel (server: Upstream, notification: Message): Message | undefined {
    const wanted = idKey(notification.raw(CANCELLED_ID) ?? '')
    for (const [id, asked] of this.#asked) {
      if (asked.server !== server || idKey(asked.rawId) !== wanted) continue
      this.#asked.delete(id)
      return notification.rewrite(undefined, [[CANCELLED_ID, id]])
    }
    return undefined
  }

  /** A server has gone: the ids of what it has asked, as the client knows them. */
  drop (server: Upstream): string[] {
    const ids = [...this.#asked].filter(([, asked]) => asked.server === server).map(([id]) => id)
    for (const id of ids) this.#asked.delete(id)
    return ids
  }
}
