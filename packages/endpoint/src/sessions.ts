import { BusyMap, mcpError } from '@mcp-proxy/protocol'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { closeGracefully, type Closing } from './closing.js'
import type { EndpointSettings, SessionInfo } from './options.js'
import type { Ticker } from './ticker.js'

/** What a session has to be able to do to be kept. */
export interface Session extends SessionInfo, Closing {
  /** A stream or a request is open: the session is not idle. */
  readonly busy: boolean
  /** `Date.now()` of the last request. */
  lastSeen: number
}

/** How often idle sessions are looked for: at most this many milliseconds after their time. */
const SWEEP = 10_000

/** The sessions of one endpoint: bounded in number and idle time, each seen only by the principal that opened it. */
export class Sessions<S extends Session> {
  readonly #sessions = new BusyMap<string, S>()
  readonly #settings: EndpointSettings
  readonly #log: FastifyBaseLogger
  readonly #streams: Ticker
  #timer: NodeJS.Timeout | undefined
  #closing = false

  /** @param streams the open streams of the endpoint */
  constructor (scope: FastifyInstance, settings: EndpointSettings, streams: Ticker) {
    this.#settings = settings
    this.#streams = streams
    this.#log = scope.log
    // in preClose: Fastify waits for open streams before it runs onClose
    scope.addHook('preClose', () => this.#close())
  }

  /** The app is closing: nothing new is begun, what is open may finish. */
  get closing (): boolean { return this.#closing }
  get size (): number { return this.#sessions.size }

  /** A fresh, unguessable session id. */
  newId (): string {
    return this.#settings.newSessionId()
  }

  /** @throws MCP_ERR_SESSION_LIMIT, MCP_ERR_CLOSING */
  checkRoom (): void {
    if (this.#closing) throw mcpError('MCP_ERR_CLOSING')
    if (this.#sessions.size >= this.#settings.maxSessions) throw mcpError('MCP_ERR_SESSION_LIMIT', this.#settings.maxSessions)
  }

  add (session: S): void {
    this.#sessions.set(session.id, session)
    this.#watchIdle()
    this.#tell(this.#settings.onSessionOpen, session)
  }

  /**
   * The session of this id, if it is the principal's: that a stranger's exists is nobody's business.
   * @throws MCP_ERR_SESSION_NOT_FOUND
   */
  get (id: string, principal: string | undefined): S {
    const session = this.#sessions.get(id)
    if (session === undefined || session.principal !== principal) throw mcpError('MCP_ERR_SESSION_NOT_FOUND')
    session.lastSeen = Date.now()
    return session
  }

  /** Forgets a session that has ended. */
  delete (session: S): void {
    if (this.#sessions.get(session.id) !== session) return
    this.#sessions.delete(session.id)
    if (this.#sessions.size === 0) this.#stopTimer()
    this.#tell(this.#settings.onSessionClose, session)
  }

  /** Ends a session without waiting for it. */
  end (session: S): void {
    session.close().catch((err: unknown) => this.#log.error({ err }, 'a session did not end cleanly'))
  }

  /** Calls a hook of the app: what goes wrong in it is its own, and stops nothing here. */
  #tell (hook: (session: SessionInfo) => void | Promise<void>, { id, transport, principal }: SessionInfo): void {
    const call = async (): Promise<void> => { await hook({ id, transport, principal }) }
    call().catch((err: unknown) => this.#log.error({ err }, 'a session hook failed'))
  }

  #watchIdle (): void {
    const { idleTimeout } = this.#settings
    if (idleTimeout === 0 || this.#timer !== undefined) return
    this.#timer = setInterval(() => {
      const limit = Date.now() - idleTimeout
      for (const session of [...this.#sessions.values()]) {
        if (session.busy) session.lastSeen = Date.now()
        else if (session.lastSeen <= limit) this.end(session)
      }
    }, Math.min(SWEEP, Math.ceil(idleTimeout / 4)))
    this.#timer.unref()
  }

  #stopTimer (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  async #close (): Promise<void> {
    this.#closing = true
    this.#stopTimer()
    await closeGracefully([...this.#sessions.values()], this.#settings.closeGrace, this.#streams)
  }
}
