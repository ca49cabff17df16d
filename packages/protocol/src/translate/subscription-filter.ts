import { mcpError } from '../errors.js'
import { isObject } from '../object.js'

/** Resources that one subscription may name. */
const MAX_URIS = 1000

const LISTS = ['tools', 'prompts', 'resources'] as const

/** What a subscription is about (2026-07-28, "Subscriptions", Notification Filter). */
export interface SubscriptionFilter {
  /** Lists whose changes are told. */
  readonly lists: ReadonlySet<typeof LISTS[number]>
  /** Resources whose changes are told; each once. */
  readonly uris: readonly string[]
}

/** @throws MCP_ERR_PARAMS */
export function readFilter (notifications: unknown): SubscriptionFilter {
  if (!isObject(notifications)) throw mcpError('MCP_ERR_PARAMS', '"notifications" must be an object')
  const uris = notifications['resourceSubscriptions'] ?? []
  if (!isTexts(uris)) throw mcpError('MCP_ERR_PARAMS', '"resourceSubscriptions" must be an array of URIs')
  if (uris.length > MAX_URIS) throw mcpError('MCP_ERR_PARAMS', `"resourceSubscriptions" has more than ${MAX_URIS} URIs`)
  return { lists: new Set(LISTS.filter(kind => notifications[`${kind}ListChanged`] === true)), uris: [...new Set(uris)] }
}

/** As JSON text, without what is not told. */
export function toRawFilter ({ lists, uris }: SubscriptionFilter): string {
  const changes = [...lists].map(kind => [`${kind}ListChanged`, true])
  return JSON.stringify({ ...Object.fromEntries(changes), ...(uris.length > 0 && { resourceSubscriptions: uris }) })
}

function isTexts (value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}
