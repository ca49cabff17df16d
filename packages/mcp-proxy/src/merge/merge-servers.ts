import { IntroducedServers, checkMilliseconds, isModernMessage, mcpError, modernOverLegacy, type Connect, type ConnectContext, type Connection, type FastifyBaseLogger, type Transport } from '@mcp-proxy/protocol'
import { MergedParty } from './merged-party.js'
import { Names } from './names.js'

export interface MergeOptions {
  /** What stands between the name of a server and that of its tool or prompt. @default '__' */
  readonly separator?: string | undefined
  /** Milliseconds that an answer of all servers, such as a list, waits for the last of them. @default 30_000 */
  readonly patience?: number | undefined
  /** @default nothing is logged */
  readonly log?: FastifyBaseLogger | undefined
}

export const DEFAULT_PATIENCE = 30_000

/** Several servers as one; closing it ends what it holds for modern parties. */
export interface MergedServers {
  readonly connect: Connect
  readonly close: () => Promise<void>
}

/**
 * Several servers behind one {@link Connect}, by name. Names of tools and prompts begin with that of their server, resources
 * belong to whoever lists them, lists are those of all. What the servers ask, tell and log goes to the party, and under
 * numbers of its own, as if one server did. Parties of both eras are served.
 * @throws MCP_ERR_OPTION
 */
export function mergeServers (servers: ReadonlyMap<string, Connect>, { separator, patience = DEFAULT_PATIENCE, log }: MergeOptions = {}): MergedServers {
  if (servers.size === 0) throw mcpError('MCP_ERR_OPTION', 'servers', 'one or more servers', 'none')
  const options = { servers, names: new Names([...servers.keys()], separator), patience: checkMilliseconds('patience', patience, 1) }
  const legacy: Connect = (transport, context) => new MergedParty(transport, context, options)
  const introduced = new IntroducedServers(legacy, { name: [...servers.keys()].join(', ') })
  const modern = modernOverLegacy(introduced, { log })
  return {
    connect: (transport, context) => {
      if (context.era === undefined) return new UnknownParty(transport, context, { legacy, modern })
      return context.era === 'modern' ? modern(transport, context) : legacy(transport, context)
    },
    close: async () => {
      await modern.close()
      await introduced.close()
    },
  }
}

/** A party whose first message will show what it speaks. */
class UnknownParty implements Connection {
  #connection: Connection | undefined
  #closed = false

  constructor (transport: Transport, context: ConnectContext, { legacy, modern }: { legacy: Connect, modern: Connect }) {
    transport.onmessage = (message) => {
      if (this.#closed) return
      const era = isModernMessage(message) ? 'modern' : 'legacy'
      this.#connection = (era === 'modern' ? modern : legacy)(transport, { ...context, era })
      transport.onmessage?.(message)
    }
  }

  async close (): Promise<void> {
    this.#closed = true
    await this.#connection?.close()
  }
}
