import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { BusySet } from '@mcp-proxy/protocol'
import { remoteServer } from '@mcp-proxy/remote'
import { checkServer } from '../check-server.js'
import { mcpProxy, registerEndpoints, type McpProxyOptions } from '../plugin.js'
import { requestLog } from '../request-log.js'
import type { Settings } from '../settings.js'
import type { ServerEntry } from './entry.js'
import { commandOptions, endpointsOptions, remoteOptions } from './server-options.js'

/** What the process that serves gives all endpoints. */
export type OwnOptions = Pick<McpProxyOptions, 'newSessionId' | 'stateTag' | 'preHandler'>

export interface ServedOptions {
  readonly name: string
  readonly entry: ServerEntry
  /** The settings of all servers. */
  readonly settings: Settings
  readonly own?: OwnOptions | undefined
  /** What stands before the name in the paths of the endpoints. */
  readonly prefix: string
  readonly log: FastifyBaseLogger
}

/** Ids of open sessions. */
type Sessions = BusySet<string>

type Hooks = OwnOptions & Pick<McpProxyOptions, 'onSessionOpen' | 'onSessionClose'>

/**
 * One server of a configuration, with its endpoints. They are an app of its own that listens nowhere: routes of Fastify
 * cannot be taken away, an app can be closed, and its sessions and children end in the order in which any app's do.
 */
export class Served {
  readonly name: string
  readonly #app: FastifyInstance
  readonly #start: () => Promise<void>
  readonly #sessions: Sessions
  #closing: Promise<void> | undefined

  private constructor (name: string, app: FastifyInstance, start: () => Promise<void>, sessions: Sessions) {
    this.name = name
    this.#app = app
    this.#start = start
    this.#sessions = sessions
  }

  /** Starts no process and opens no connection. @throws SettingError, MCP_ERR_OPTION */
  static async open ({ name, entry, settings, own, prefix, log }: ServedOptions): Promise<Served> {
    const app = Fastify({
      loggerInstance: log.child({ mcpServer: name }),
      logController: new LogController({ disableRequestLogging: settings.debug !== true }),
      childLoggerFactory: requestLog,
      // as for any app of the binary: answers that open calls wait for are let in while it closes
      return503OnClosing: false,
    })
    let start = async (): Promise<void> => {}
    const sessions: Sessions = new BusySet()
    const hooks: Hooks = {
      ...own,
      onSessionOpen: ({ id }) => { sessions.add(id) },
      onSessionClose: ({ id }) => { sessions.delete(id) },
    }
    try {
      await app.register(async (scope) => { start = await register(scope, name, entry, settings, hooks) }, { prefix: `${prefix}/${name}` })
      await app.ready()
    } catch (error) {
      await app.close()
      throw error
    }
    return new Served(name, app, start, sessions)
  }

  /** Whether a session of this id is open here. */
  has (sessionId: string): boolean {
    return this.#sessions.has(sessionId)
  }

  /** Answers a request below the server's name. */
  route (request: IncomingMessage, response: ServerResponse): void {
    this.#app.routing(request, response)
  }

  /** Finds out now whether the server works. @throws CodedError */
  async start (): Promise<void> {
    if (this.#closing === undefined) await this.#start()
  }

  get closed (): boolean { return this.#closing !== undefined }

  /** Lets open calls finish, ends sessions, then the children. Harmless when called twice. */
  async close (): Promise<void> {
    await (this.#closing ??= Promise.resolve(this.#app.close()))
  }
}

/** Declares the endpoints of a server; returns what starts it. */
async function register (scope: FastifyInstance, name: string, entry: ServerEntry, settings: Settings, own: Hooks): Promise<() => Promise<void>> {
  if (entry.kind === 'command') {
    await scope.register(mcpProxy, { ...commandOptions(name, entry, settings), ...own })
    return () => scope.mcpBridge.start()
  }
  const { log } = scope
  const remote = remoteServer({ ...remoteOptions(name, entry, settings), log })
  scope.addHook('onClose', () => remote.close())
  await registerEndpoints(scope, { ...endpointsOptions(entry, settings), ...own, connect: remote.connect })
  return () => checkServer(name, remote.connect, { log, timeout: settings['start-timeout'] })
}
