import type { AllowedOrigins } from './options.js'

/** Names under which a machine reaches itself. `Host` and `Origin` are compared without the port. */
const LOOPBACK_NAMES = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Decides about the value of an `Origin` header. */
export type OriginPolicy = (origin: string) => boolean

export function originPolicy (allowed: AllowedOrigins): OriginPolicy {
  if (allowed === 'any') return () => true
  if (allowed === 'local') return isLocalOrigin
  // search, not test: that starts where a RegExp with the flag g has stopped before
  return origin => allowed.some(item => typeof item === 'string' ? item === origin : origin.search(item) !== -1)
}

export function isLoopbackName (host: string): boolean {
  return LOOPBACK_NAMES.has(host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, ''))
}

function isLocalOrigin (origin: string): boolean {
  const host = /^https?:\/\/([^/]+)$/.exec(origin)?.[1]
  return host !== undefined && isLoopbackName(host)
}
