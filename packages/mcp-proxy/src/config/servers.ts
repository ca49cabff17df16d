import type { FastifyBaseLogger } from 'fastify'
import type { Settings } from '../settings.js'
import type { ServerEntry } from './entry.js'
import type { Config } from './file.js'
import { Served, type OwnOptions } from './served.js'

/** How a server of the configuration is. */
export interface ServerReport {
  readonly name: string
  /** Why it does not run; `undefined` when it does. */
  readonly error: Error | undefined
}

export interface ServersOptions {
  readonly settings: Settings
  readonly own?: OwnOptions | undefined
  readonly prefix: string
  readonly log: FastifyBaseLogger
}

interface Kept {
  /** The entry as text: the same text is the same server. */
  readonly fingerprint: string
  readonly server: Served
}

/** The servers of a configuration as they are now. */
export class Servers {
  readonly #options: ServersOptions
  readonly #kept = new Map<string, Kept>()
  /** Servers that have been taken out, until they have ended. */
  readonly #ending = new Map<Served, Promise<void>>()
  #turn: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor (options: ServersOptions) {
    this.#options = options
  }

  /**
   * Who answers a request at a name. One that was taken out still has what belongs to its sessions: calls that are open
   * may wait for what their clients are to answer.
   * @param sessionId as the request names it
   */
  get (name: string, sessionId: unknown): Served | undefined {
    if (typeof sessionId === 'string') for (const server of this.#ending.keys()) if (server.name === name && server.has(sessionId)) return server
    return this.#kept.get(name)?.server
  }

  /**
   * Starts what is new, ends what is gone, and replaces what has changed; whatever is the same is left alone, its
   * sessions too. Where an entry cannot be used, its server stays as it was. Resolves when requests are served accordingly;
   * `started`, when all that has begun has been seen to work, or not to. Neither rejects.
   */
  async apply (config: Config): Promise<{ readonly started: Promise<readonly ServerReport[]> }> {
    const turn = this.#turn.then(() => this.#change(config))
    this.#turn = turn
    return { started: Promise.all(await turn) }
  }

  async close (): Promise<void> {
    this.#closed = true
    await this.#turn
    // each stays where it is until it has ended: open calls may wait for what their clients are to answer
    await Promise.all([...this.#kept].map(([name, { server }]) => this.#finish(name, server)))
    this.#kept.clear()
    await Promise.all(this.#ending.values())
  }

  async #change ({ entries, broken }: Config): Promise<Array<Promise<ServerReport>>> {
    const begun = [...broken].map(async ([name, error]) => this.#report(name, error))
    if (this.#closed) return begun
    for (const name of [...this.#kept.keys()]) if (!entries.has(name) && !broken.has(name)) void this.#end(name)
    for (const [name, entry] of entries) {
      const fingerprint = JSON.stringify(entry)
      if (this.#kept.get(name)?.fingerprint !== fingerprint) begun.push(...await this.#begin(name, entry, fingerprint))
    }
    return begun
  }

  async #begin (name: string, entry: ServerEntry, fingerprint: string): Promise<Array<Promise<ServerReport>>> {
    let server: Served
    try {
      server = await Served.open({ ...this.#options, name, entry })
    } catch (error) {
      return [Promise.resolve(this.#report(name, error))]
    }
    // clients of the old one are told by 404 that their session has ended, when it has, and come back to the new one
    const ended = this.#end(name)
    this.#kept.set(name, { fingerprint, server })
    // what the old one holds, a lock or a port, may be what the new one needs
    const started = ended.then(() => server.start())
    return [started.then(() => server.closed ? { name, error: undefined } : this.#report(name), (error: unknown) => this.#report(name, error))]
  }

  /** Takes a server out; the promise is kept only when it has ended. */
  async #end (name: string): Promise<void> {
    const kept = this.#kept.get(name)
    if (kept === undefined) return
    this.#kept.delete(name)
    const ended = this.#finish(name, kept.server).finally(() => this.#ending.delete(kept.server))
    this.#ending.set(kept.server, ended)
    await ended
  }

  async #finish (name: string, server: Served): Promise<void> {
    const { log } = this.#options
    await server.close().catch((err: unknown) => log.error({ err, mcpServer: name }, 'server did not end cleanly'))
    log.info({ mcpServer: name }, 'server has ended')
  }

  #report (name: string, given?: unknown): ServerReport {
    const { log } = this.#options
    const error = given === undefined ? undefined : given instanceof Error ? given : new Error(String(given))
    if (error === undefined) log.info({ mcpServer: name }, 'server is ready')
    else log.error({ err: error, mcpServer: name }, 'server does not run')
    return { name, error }
  }
}
