import { isObject, type Message } from '@mcp-proxy/protocol'

/** What a subscription asks for (2026-07-28, "Subscriptions", Notification Filter). */
export interface Filter {
  readonly toolsListChanged?: boolean
  readonly promptsListChanged?: boolean
  readonly resourcesListChanged?: boolean
  /** URIs of resources. */
  readonly resourceSubscriptions?: readonly string[]
}

type Flag = 'toolsListChanged' | 'promptsListChanged' | 'resourcesListChanged'

const FLAGS: readonly Flag[] = ['toolsListChanged', 'promptsListChanged', 'resourcesListChanged']
const METHODS: ReadonlyMap<string, Flag> = new Map([
  ['notifications/tools/list_changed', 'toolsListChanged'],
  ['notifications/prompts/list_changed', 'promptsListChanged'],
  ['notifications/resources/list_changed', 'resourcesListChanged'],
])

/** A filter that asks for nothing but what the revision names; `undefined` for all others, which are the server's to judge. */
export function readFilter (value: unknown): Filter | undefined {
  if (!isObject(value)) return undefined
  for (const [name, wanted] of Object.entries(value)) {
    if ((FLAGS as readonly string[]).includes(name) ? typeof wanted !== 'boolean' : name !== 'resourceSubscriptions' || !isStringList(wanted)) return undefined
  }
  return value as Filter
}

/** What covers all of some filters. */
export function unite (filters: readonly Filter[]): Filter {
  const uris = new Set(filters.flatMap(filter => filter.resourceSubscriptions ?? []))
  return {
    ...Object.fromEntries(FLAGS.filter(flag => filters.some(filter => filter[flag] === true)).map(flag => [flag, true])),
    ...(uris.size > 0 && { resourceSubscriptions: [...uris].sort() })
  }
}

/** Whether all that one filter asks for is part of another. */
export function covers (wide: Filter, narrow: Filter): boolean {
  const uris = new Set(wide.resourceSubscriptions)
  return FLAGS.every(flag => narrow[flag] !== true || wide[flag] === true) && (narrow.resourceSubscriptions ?? []).every(uri => uris.has(uri))
}

/** The part of a filter that the server has agreed to. */
export function honoured (filter: Filter, agreed: Filter): Filter {
  const uris = new Set(agreed.resourceSubscriptions)
  const subscriptions = filter.resourceSubscriptions?.filter(uri => uris.has(uri)) ?? []
  return {
    ...Object.fromEntries(FLAGS.filter(flag => filter[flag] === true && agreed[flag] === true).map(flag => [flag, true])),
    ...(subscriptions.length > 0 && { resourceSubscriptions: subscriptions })
  }
}

/** Whether a notification is one that a filter asks for. An update may name a part of the resource that was subscribed to. */
export function admits (filter: Filter, message: Message): boolean {
  const flag = METHODS.get(message.method ?? '')
  if (flag !== undefined) return filter[flag] === true
  const uri = message.method === 'notifications/resources/updated' ? message.params?.['uri'] : undefined
  return typeof uri === 'string' && (filter.resourceSubscriptions ?? []).some(subscribed => isSameOrBelow(uri, subscribed))
}

/** Whether a URI names a resource, or a part of it (2025-11-25, "Resource Updated Notification"). */
export function isSameOrBelow (uri: string, parent: string): boolean {
  return uri === parent || (uri.startsWith(parent) && (parent.endsWith('/') || '/?#'.includes(uri.charAt(parent.length))))
}

function isStringList (value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}
