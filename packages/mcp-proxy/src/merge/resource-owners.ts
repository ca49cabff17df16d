import type { Upstream } from './upstream.js'

/** URIs that are remembered; of others it is asked again whose they are. */
const MAX_URIS = 10_000
const MAX_TEMPLATES = 1_000

/** Which server has which resource: who lists a URI has it, else whose template it fits. */
export class ResourceOwners {
  readonly #uris = new Map<string, Upstream>()
  readonly #templates = new Map<string, Upstream>()

  /** A server lists a URI; `false` when it is another's already. */
  addUri (uri: string, server: Upstream): boolean {
    return add(this.#uris, uri, server, MAX_URIS)
  }

  addTemplate (template: string, server: Upstream): boolean {
    return add(this.#templates, template, server, MAX_TEMPLATES)
  }

  forget (server: Upstream): void {
    for (const map of [this.#uris, this.#templates]) {
      for (const [key, owner] of [...map]) if (owner === server) map.delete(key)
    }
  }

  /** Whose a URI, or a template that is asked about, may be; empty when nobody has listed it. */
  find (uri: string): Upstream[] {
    const owner = this.#uris.get(uri) ?? this.#templates.get(uri)
    if (owner !== undefined) return [owner]
    const found = new Set<Upstream>()
    for (const [template, server] of this.#templates) if (fits(uri, template)) found.add(server)
    return [...found]
  }
}

function add (map: Map<string, Upstream>, key: string, server: Upstream, max: number): boolean {
  const owner = map.get(key)
  if (owner !== undefined && !owner.gone) return owner === server
  if (map.size < max) map.set(key, server)
  return true
}

/**
 * Whether a URI can be one of a template (RFC 6570), whatever its expressions stand for: its fixed parts are there, in
 * order. No regular expression is made of what a server has written, which could take for ever.
 */
export function fits (uri: string, template: string): boolean {
  const [first = '', ...parts] = template.split(/\{[^{}]*\}/)
  const last = parts.pop()
  if (last === undefined) return uri === first
  if (!uri.startsWith(first)) return false
  let at = first.length
  for (const part of parts) {
    const found = uri.indexOf(part, at)
    if (found === -1) return false
    at = found + part.length
  }
  return uri.length - last.length >= at && uri.endsWith(last)
}
