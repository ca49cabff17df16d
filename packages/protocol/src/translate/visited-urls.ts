import { randomUUID } from 'node:crypto'

/**
 * The URLs that a call has sent its user to. A modern server asks for one until the user is done there; a legacy client
 * knows each by an id, and is told when it is done (2025-11-25, "Elicitation", Completion Notifications).
 */
export class VisitedUrls {
  readonly #open = new Map<string, { readonly id: string, accepted: boolean }>()

  /** The id of an elicitation: the same as long as the server asks for the same URL. */
  open (url: string): string {
    const known = this.#open.get(url) ?? { id: randomUUID(), accepted: false }
    this.#open.set(url, known)
    return known.id
  }

  /** The user has agreed to go there. */
  accept (url: string): void {
    const known = this.#open.get(url)
    if (known !== undefined) known.accepted = true
  }

  /** Forgets those which the server does not ask for any more, and gives the ids of the ones that the user had agreed to. */
  complete (asked: ReadonlySet<string | undefined>): string[] {
    const ids: string[] = []
    for (const [url, { id, accepted }] of this.#open) {
      if (asked.has(url)) continue
      this.#open.delete(url)
      if (accepted) ids.push(id)
    }
    return ids
  }
}
