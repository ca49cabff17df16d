import { mcpError, mostVerbose, type CodedError } from '@mcp-proxy/protocol'
import { Child, type ChildExit } from './child.js'
import { Heartbeat } from './heartbeat.js'
import { sharedInitialize } from './handshake.js'
import { EraProbe } from './era-probe.js'
import { discover, initialize } from './introduction.js'
import { Restarts } from './restarts.js'
import { fromServer, fromServerOversize } from './server-to-client.js'
import type { Hub } from './hub.js'

/**
 * - `idle`: no child, or a spare to which nothing has been said; the next message starts one, or is its first.
 * - `waiting`: a child was lost; another follows after the back-off.
 * - `starting`: a child is starting or shaking hands; messages wait.
 * - `ready`: messages flow.
 * - `closed`: for good.
 */
export type SupervisorState = 'idle' | 'waiting' | 'starting' | 'ready' | 'closed'

/** Milliseconds after which a child that was up counts as one that worked. */
const STABLE = 60_000

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
  readonly #restarts: Restarts
  #state: SupervisorState = 'idle'
  #starting: Promise<void> | undefined
  #backOff: NodeJS.Timeout | undefined
  #heartbeat: Heartbeat | undefined
  /** Parameters of the handshake, as JSON text: the client's own when it has the child to itself. */
  #initializeParams: string | undefined
  #starts = 0
  #startedAt = 0
  readonly #probe: EraProbe
  #answered = false
  /** All that run, also one that was given up and is being ended. */
  readonly #children = new Set<Child>()

  constructor (hub: Hub, handler: SupervisorHandler) {
    this.#hub = hub
    this.#handler = handler
    this.#restarts = new Restarts(hub.settings.restart)
    this.#probe = new EraProbe(hub, () => {
      if (this.state === 'closed') return false
      this.#spawn()
      return true
    })
    hub.onworked = () => {
      hub.introduced = true
      this.#restarts.worked()
      if (this.#answered) return
      this.#answered = true
      handler.answered()
    }
  }

  get state (): SupervisorState { return this.#state }
  /** Children lost so far. */
  get losses (): number { return this.#restarts.total }

  /** Why no child is started now; `undefined` when one may be. */
  get refusal (): CodedError | undefined {
    if (this.#state === 'closed') return mcpError('MCP_ERR_STOPPED')
    const wait = this.#state === 'idle' ? this.#restarts.blockedFor(Date.now()) : 0
    if (wait === 0) return undefined
    const retryAfter = Math.ceil(wait / 1000)
    return Object.assign(mcpError('MCP_ERR_CHILD_UNAVAILABLE', this.#hub.settings.name, retryAfter), { retryAfter })
  }

  /** Starts a child for somebody who needs one: now, or when the back-off is over. */
  need (delay: number = this.#restarts.backOff()): void {
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
    this.#backOff = setTimeout(() => {
      this.#state = 'idle'
      begin()
    }, delay)
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
    this.#spawn()
  }

  /** Starts a child that its client's own `initialize` will introduce; `false` when this is not the time for that. */
  open (initializeParams: string): boolean {
    const { child, era } = this.#hub
    if (this.#state !== 'idle' || this.#initializeParams !== undefined || (era.known !== 'legacy' && child === undefined)) return false
    this.#initializeParams = initializeParams
    // one that was asked what it is waits for this, and so does a spare
    if (child === undefined) this.#spawn()
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
    clearTimeout(this.#backOff)
    this.#heartbeat?.stop()
    this.#hub.own.fail(mcpError('MCP_ERR_STOPPED'))
    await Promise.all([...this.#children].map(child => child.stop()))
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
    this.#restore()
    this.#state = 'ready'
    this.#watch()
    this.#handler.ready(this.#starts > 1)
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
    clearTimeout(this.#backOff)
    this.#state = 'starting'
    if (this.#hub.child === undefined) this.#spawn()
    try {
      await introduce()
      // closed meanwhile: the child is being stopped
      if (this.#hub.child === undefined || this.state === 'closed') throw mcpError('MCP_ERR_STOPPED')
    } catch (cause) {
      this.#hub.era.giveUp()
      const { child } = this.#hub
      const error = isCoded(cause) ? cause : mcpError('MCP_ERR_CHILD_HANDSHAKE', this.#hub.settings.name, cause instanceof Error ? cause.message : String(cause), { cause })
      // when the child has exited, that has been dealt with and is the reason
      if (child !== undefined) {
        this.#lose(Object.assign(error, { stderr: child.stderrTail }))
        // not waited for: who comes next shall not be held up by a child that will not go
        void child.stop()
      }
      throw error
    }
  }

  #spawn (): Child {
    const { settings, log, events } = this.#hub
    const child: Child = new Child(settings, log, {
      // a child that was given up may talk on
      message: (message) => { if (this.#hub.child === child) fromServer(this.#hub, message) },
      oversize: (head, tail) => { if (this.#hub.child === child) fromServerOversize(this.#hub, head, tail) },
      exit: exit => this.#exited(child, exit),
    })
    this.#hub.child = child
    this.#hub.introduced = false
    this.#startedAt = Date.now()
    this.#children.add(child)
    this.#starts++
    // without an id there is no process: 'server ended' says why
    if (child.pid !== undefined) {
      log.info({ childPid: child.pid }, 'server started')
      events.report('spawn', { server: settings.name, pid: child.pid })
    }
    return child
  }

  /** A child that replaces another learns what clients had told the first. */
  #restore (): void {
    const { own, peers, subscriptions } = this.#hub
    if (this.#hub.modern) {
      this.#hub.listens.reopen()
      return
    }
    const level = mostVerbose([...peers].map(peer => peer.logLevel))
    if (level !== undefined) own.tell('logging/setLevel', JSON.stringify({ level }))
    for (const uri of subscriptions.uris) own.tell('resources/subscribe', JSON.stringify({ uri }))
  }

  /** The child is up. Looks from now on whether it still answers, if that is wanted. */
  #watch (): void {
    const { child, events, settings } = this.#hub
    events.report('ready', { server: settings.name, pid: child?.pid })
    if (child !== undefined) this.#heartbeat = new Heartbeat(this.#hub, child)
  }

  #exited (child: Child, exit: ChildExit): void {
    const { log, settings, events, own } = this.#hub
    const expected = this.#state === 'closed'
    log[expected ? 'debug' : 'warn']({ childPid: child.pid, code: exit.code, signal: exit.signal, err: exit.error }, 'server ended')
    events.report('exit', { server: settings.name, pid: child.pid, code: exit.code, signal: exit.signal, expected })
    // it may have left others behind
    void child.stop().finally(() => this.#children.delete(child))
    if (this.#hub.child !== child) return
    const how = explainStart(exit.error) ?? (exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`)
    if (this.#probe.asking && exit.error === undefined && !expected) {
      // the next one is spoken to in another way: nobody has to know
      this.#hub.child = undefined
      own.fail(mcpError('MCP_ERR_CHILD_EXITED', settings.name, how))
      return
    }
    const error = mcpError(exit.error === undefined ? 'MCP_ERR_CHILD_EXITED' : 'MCP_ERR_CHILD_START', settings.name, how, { cause: exit.error })
    this.#lose(Object.assign(error, { stderr: child.stderrTail }))
  }

  #lose (error: CodedError): void {
    const { events, own, peers, settings, log } = this.#hub
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
    // rare losses of a server that has been up for long are not in a row
    if (Date.now() - this.#startedAt > STABLE) this.#restarts.worked()
    const broken = this.#restarts.lost(Date.now())
    own.fail(error)
    this.#handler.lost(error)
    const { failures } = this.#restarts
    if (broken) {
      const { coolDown } = settings.restart
      log.error({ failures, coolDown }, 'server keeps ending; it is left alone for a while')
      events.report('breaker', { server: settings.name, failures, coolDown })
      // whoever only listens does not call: somebody has to look again
      this.#backOff = setTimeout(() => { if (peers.size > 0) this.need(0) }, coolDown).unref()
    } else if (peers.size > 0) {
      // sessions are open: their subscriptions and notifications need a child, also while nobody calls
      const delay = this.#restarts.backOff()
      events.report('restart', { server: settings.name, failures, delay })
      this.need(delay)
    }
  }
}

/** Why a process could not be started, without the paths of this machine, which the log has. */
function explainStart (error: NodeJS.ErrnoException | undefined): string | undefined {
  if (error === undefined) return undefined
  switch (error.code) {
    // Node says so for a working directory that does not exist, too
    case 'ENOENT': return 'the command or its working directory was not found'
    case 'EACCES': return 'the command may not be executed'
    default: return error.code ?? error.message
  }
}

function isCoded (error: unknown): error is CodedError {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('MCP_ERR_')
}
