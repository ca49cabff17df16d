import { mcpError, type CodedError } from '@mcp-proxy/protocol'
import { Heartbeat } from './heartbeat.js'
import { sharedInitialize } from './handshake.js'
import { EraProbe } from './era-probe.js'
import { discover, handshakeError, initialize, restore } from './introduction.js'
import { Processes } from './processes.js'
import { Replacement } from './replacement.js'
import type { Child, ChildExit } from './child.js'
import type { Hub } from './hub.js'

/**
 * - `idle`: no child, or a spare to which nothing has been said; the next message starts one, or is its first.
 * - `waiting`: a child was lost; another follows after the back-off.
 * - `starting`: a child is starting or shaking hands; messages wait.
 * - `ready`: messages flow.
 * - `closed`: for good.
 */
export type SupervisorState = 'idle' | 'waiting' | 'starting' | 'ready' | 'closed'

/** What the supervisor tells of its child. */
export interface SupervisorHandler {
  /** The child takes messages. `again`: it has taken the place of another. */
  ready: (again: boolean) => void
  /** The child shakes hands, and waits for its client to do so. */
  probed: () => void
  /** A client has got its first answer. */
  answered: () => void
  /** The child is gone, or did not come up: what was open or waiting has to be answered. */
  lost: (error: CodedError) => void
}

/** Keeps one server running: starts a child when it is needed, shakes hands with it, and replaces it when it is lost. */
export class Supervisor {
  readonly #hub: Hub
  readonly #handler: SupervisorHandler
  readonly #processes: Processes
  readonly #replacement: Replacement
  #state: SupervisorState = 'idle'
  #starting: Promise<void> | undefined
  #heartbeat: Heartbeat | undefined
  /** Parameters of the handshake, as JSON text: the client's own when it has the child to itself. */
  #initializeParams: string | undefined
  readonly #probe: EraProbe
  #answered = false

  constructor (hub: Hub, handler: SupervisorHandler) {
    this.#hub = hub
    this.#handler = handler
    this.#processes = new Processes(hub, (child, exit, how) => this.#exited(child, exit, how))
    this.#replacement = new Replacement(hub, delay => this.need(delay))
    this.#probe = new EraProbe(hub, () => {
      if (this.state === 'closed') return false
      this.#processes.spawn()
      return true
    })
    hub.onworked = () => {
      hub.introduced = true
      this.#replacement.worked()
      if (this.#answered) return
      this.#answered = true
      handler.answered()
    }
  }

  get state (): SupervisorState { return this.#state }
  /** Children lost so far. */
  get losses (): number { return this.#replacement.losses }

  /** Why no child is started now; `undefined` when one may be. */
  get refusal (): CodedError | undefined {
    if (this.#state === 'closed') return mcpError('MCP_ERR_STOPPED')
    return this.#state === 'idle' ? this.#replacement.refusal : undefined
  }

  /** Starts a child for somebody who needs one: now, or when the back-off is over. */
  need (delay: number = this.#replacement.backOff()): void {
    if (this.#state !== 'idle') return
    // a child of one client's own lets it shake hands itself
    const begin = (): void => {
      const begun = this.#yields ? this.#ask() : this.start()
      begun.catch((err: unknown) => this.#hub.log.error({ err }, 'server could not be started'))
    }
    if (delay === 0) {
      begin()
      return
    }
    this.#state = 'waiting'
    this.#replacement.after(delay, () => {
      this.#state = 'idle'
      begin()
    })
  }

  /** What the child is has to be found out first, and then its client introduces it. */
  get #yields (): boolean {
    return this.#hub.exclusive && this.#hub.era.known === undefined && this.#hub.child === undefined && this.#initializeParams === undefined
  }

  /**
   * Starts a child and shakes hands, unless that is done or under way.
   * @throws MCP_ERR_CHILD_START, MCP_ERR_CHILD_EXITED, MCP_ERR_CHILD_HANDSHAKE, MCP_ERR_STOPPED
   */
  async start (): Promise<void> {
    if (this.#state === 'ready') return
    if (this.#state === 'closed') throw mcpError('MCP_ERR_STOPPED')
    this.#starting ??= this.#start()
    await this.#starting
  }

  /** Starts a child to which nothing is said until its client comes. Only of a server that is known to shake hands. */
  prepare (): void {
    if (this.#state !== 'idle' || this.#hub.child !== undefined) return
    this.#hub.spare = true
    this.#processes.spawn()
  }

  /** Starts a child that its client's own `initialize` will introduce; `false` when this is not the time for that. */
  open (initializeParams: string): boolean {
    const { child, era } = this.#hub
    if (this.#state !== 'idle' || this.#initializeParams !== undefined || (era.known !== 'legacy' && child === undefined)) return false
    this.#initializeParams = initializeParams
    // one that was asked what it is waits for this, and so does a spare
    if (child === undefined) this.#processes.spawn()
    this.#state = 'ready'
    this.#watch()
    return true
  }

  /** The child shakes hands with these parameters, as JSON text. Before the first start. */
  introduceAs (initializeParams: string): void {
    this.#initializeParams ??= initializeParams
  }

  async close (): Promise<void> {
    this.#state = 'closed'
    // its client may leave before it has shaken hands
    this.#hub.era.giveUp()
    this.#replacement.cancel()
    this.#heartbeat?.stop()
    this.#hub.own.fail(mcpError('MCP_ERR_STOPPED'))
    await this.#processes.stop()
  }

  async #start (): Promise<void> {
    await this.#begin(async () => {
      const { era } = this.#hub
      this.#initializeParams ??= era.known === 'modern' ? undefined : sharedInitialize()
      if (era.known === 'modern') await discover(this.#hub)
      else if (era.known === 'legacy') await initialize(this.#hub, this.#initializeParams as string)
      else await this.#probe.learn(this.#initializeParams)
    })
    this.#starting = undefined
    restore(this.#hub)
    this.#state = 'ready'
    this.#watch()
    this.#handler.ready(this.#processes.count > 1)
  }

  /** Asks a child of one client's own what it is; a child that shakes hands then waits for that client to do so. */
  async #ask (): Promise<void> {
    await (this.#starting ??= this.#begin(() => this.#probe.learn(this.#initializeParams)))
    this.#starting = undefined
    this.#state = this.#hub.modern ? 'ready' : 'idle'
    if (this.#hub.modern) {
      this.#watch()
      this.#handler.ready(false)
    } else {
      this.#handler.probed()
    }
  }

  /** Starts a child, unless one waits, and makes it ready. */
  async #begin (introduce: () => Promise<void>): Promise<void> {
    this.#replacement.cancel()
    this.#state = 'starting'
    if (this.#hub.child === undefined) this.#processes.spawn()
    try {
      await introduce()
      // closed meanwhile: the child is being stopped
      if (this.#hub.child === undefined || this.state === 'closed') throw mcpError('MCP_ERR_STOPPED')
    } catch (cause) {
      this.#hub.era.giveUp()
      const { child } = this.#hub
      const error = handshakeError(this.#hub, cause)
      // when the child has exited, that has been dealt with and is the reason
      if (child !== undefined) {
        this.#lose(Object.assign(error, { stderr: child.stderrTail }))
        // not waited for: who comes next shall not be held up by a child that will not go
        void child.stop()
      }
      throw error
    }
  }

  /** The child is up. Looks from now on whether it still answers, if that is wanted. */
  #watch (): void {
    const { child, events, settings } = this.#hub
    events.report('ready', { server: settings.name, pid: child?.pid })
    if (child !== undefined) this.#heartbeat = new Heartbeat(this.#hub, child)
  }

  #exited (child: Child, exit: ChildExit, how: string): void {
    const { settings, own } = this.#hub
    if (this.#hub.child !== child) return
    if (this.#probe.asking && exit.error === undefined && this.#state !== 'closed') {
      // the next one is spoken to in another way: nobody has to know
      this.#hub.child = undefined
      own.fail(mcpError('MCP_ERR_CHILD_EXITED', settings.name, how))
      return
    }
    const error = mcpError(exit.error === undefined ? 'MCP_ERR_CHILD_EXITED' : 'MCP_ERR_CHILD_START', settings.name, how, { cause: exit.error })
    this.#lose(Object.assign(error, { stderr: child.stderrTail }))
  }

  #lose (error: CodedError): void {
    const { own } = this.#hub
    this.#hub.lastStderr = this.#hub.child?.stderrTail ?? []
    this.#hub.child = undefined
    this.#hub.early.length = 0
    // before anybody is told: who comes next must not join the start that has failed
    this.#starting = undefined
    this.#heartbeat?.stop()
    if (this.#state === 'closed') {
      this.#handler.lost(error)
      return
    }
    this.#state = 'idle'
    const broken = this.#replacement.lost(this.#processes.startedAt)
    own.fail(error)
    this.#handler.lost(error)
    this.#replacement.follow(broken)
  }
}
