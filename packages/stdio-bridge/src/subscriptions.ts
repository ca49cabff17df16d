import { isSameOrBelow } from './listen-filter.js'
import type { Peer } from './peer.js'

const NONE: readonly string[] = []

/** Which clients of one child subscribe to which resources (`resources/subscribe`). */
export class Subscriptions {
  readonly #peers = new Map<string, Set<Peer>>()

  /** `true` when the client had not subscribed before. */
  add (uri: string, peer: Peer): boolean {
    const peers = this.#peers.get(uri) ?? new Set()
    if (peers.has(peer)) return false
    this.#peers.set(uri, peers.add(peer))
    return true
  }

  /** `true` when that was the last subscriber: the server needs to know. */
  remove (uri: string, peer: Peer): boolean {
    const peers = this.#peers.get(uri)
    if (peers?.delete(peer) !== true || peers.size > 0) return false
    this.#peers.delete(uri)
    return true
  }

  /** Forgets a client; returns the resources that nobody subscribes to any more. */
  drop (peer: Peer): readonly string[] {
    if (this.#peers.size === 0) return NONE
    return [...this.#peers.keys()].filter(uri => this.remove(uri, peer))
  }

  isShared (uri: string, peer: Peer): boolean {
    const peers = this.#peers.get(uri)
    return peers !== undefined && [...peers].some(other => other !== peer)
  }

  /** Subscribers of a resource, or of one that it is part of: an update may name a sub-resource (2025-11-25, "Resource Updated Notification"). */
  of (uri: string): Set<Peer> {
    const found = new Set<Peer>()
    for (const [subscribed, peers] of this.#peers) {
      if (isSameOrBelow(uri, subscribed)) for (const peer of peers) found.add(peer)
    }
    return found
  }

  get uris (): string[] {
    return [...this.#peers.keys()]
  }
}
