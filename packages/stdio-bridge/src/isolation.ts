import { mcpError, type ConnectContext, type Era, type FastifyBaseLogger, type Message } from '@mcp-proxy/protocol'
import { declaresCallbacks } from './handshake.js'
import type { BridgeSettings } from './options.js'

/** The key of the child that all share. */
export const SHARED = 'shared'

/** What a client shares a child by, whatever it says; `undefined` when it shares none. */
export function sharingKey ({ isolation, childEnv }: BridgeSettings, context: ConnectContext): string | undefined {
  if (typeof isolation === 'function') {
    const key = isolation(context)
    return key === undefined ? undefined : `key ${key}`
  }
  switch (isolation) {
    case 'shared':
    case 'auto': return SHARED
    case 'principal':
      // what a child was given for one stranger must not serve the next
      if (context.principal === undefined) return childEnv === undefined ? SHARED : undefined
      return `principal ${context.principal}`
    default: return undefined
  }
}

/**
 * What a client that shakes hands shares a child by, as its first message shows; `undefined` when it gets one of its own.
 * A server without handshake asks by its answers, which cannot be mixed up: it can be shared.
 */
export function isolationKey (settings: BridgeSettings, context: ConnectContext, first: Message, era: Era | undefined): string | undefined {
  const asked = settings.isolation === 'auto' && era !== 'modern' && context.answers !== false && first.method === 'initialize' && declaresCallbacks(first)
  return asked ? undefined : sharingKey(settings, context)
}

/** Settings whose functions of the app's throw MCP_ERR_CHILD_START, which tells a client nothing of why: the log does. */
export function guardFunctions (settings: BridgeSettings, log: FastifyBaseLogger): BridgeSettings {
  const { isolation, childEnv, name } = settings
  const guard = <T>(use: (context: ConnectContext) => T) => (context: ConnectContext): T => {
    try {
      return use(context)
    } catch (cause) {
      log.error({ err: cause }, 'isolation or childEnv has failed for a client')
      throw mcpError('MCP_ERR_CHILD_START', name, 'its options failed for this client', { cause })
    }
  }
  return { ...settings, isolation: typeof isolation === 'function' ? guard(isolation) : isolation, childEnv: childEnv && guard(childEnv) }
}
