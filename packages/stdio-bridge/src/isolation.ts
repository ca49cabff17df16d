import type { ConnectContext, Message } from '@mcp-proxy/protocol'
import { declaresCallbacks } from './handshake.js'
import type { BridgeSettings } from './options.js'

/** The key of the child that all share. */
export const SHARED = 'shared'

/** What a client shares a child by, as its first message shows; `undefined` when it gets one of its own. */
export function isolationKey ({ isolation, childEnv }: BridgeSettings, context: ConnectContext, first: Message): string | undefined {
  if (typeof isolation === 'function') {
    const key = isolation(context)
    return key === undefined ? undefined : `key ${key}`
  }
  switch (isolation) {
    case 'shared': return SHARED
    case 'auto': return context.answers !== false && first.method === 'initialize' && declaresCallbacks(first) ? undefined : SHARED
    case 'principal':
      // what a child was given for one stranger must not serve the next
      if (context.principal === undefined) return childEnv === undefined ? SHARED : undefined
      return `principal ${context.principal}`
    default: return undefined
  }
}
