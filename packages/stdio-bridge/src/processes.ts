import { Child, type ChildExit } from './child.js'
import { fromServer, fromServerOversize } from './server-to-client.js'
import type { Hub } from './hub.js'

/**
 * A process has ended, or could not be started.
 * @param how in words for whoever waits
 */
export type ExitHandler = (child: Child, exit: ChildExit, how: string) => void

/** The processes of one server: the one that serves, and those that were given up and are being ended. */
export class Processes {
  readonly #hub: Hub
  readonly #onexit: ExitHandler
  readonly #children = new Set<Child>()
  #count = 0
  #startedAt = 0
  #stopping = false

  constructor (hub: Hub, onexit: ExitHandler) {
    this.#hub = hub
    this.#onexit = onexit
  }

  /** Processes started so far. */
  get count (): number { return this.#count }
  /** `Date.now()` of the last start. */
  get startedAt (): number { return this.#startedAt }
  /** They are being ended for good. */
  get stopping (): boolean { return this.#stopping }

  /** Starts a process, which is the hub's child from now on. */
  spawn (): void {
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
    this.#count++
    // without an id there is no process: 'server ended' says why
    if (child.pid !== undefined) {
      log.info({ childPid: child.pid }, 'server started')
      events.report('spawn', { server: settings.name, pid: child.pid })
    }
  }

  /** Ends all; resolves when they have ended. */
  async stop (): Promise<void> {
    this.#stopping = true
    await Promise.all([...this.#children].map(child => child.stop()))
  }

  #exited (child: Child, exit: ChildExit): void {
    const { log, settings, events } = this.#hub
    const { code, signal, error } = exit
    log[this.#stopping ? 'debug' : 'warn']({ childPid: child.pid, code, signal, err: error }, 'server ended')
    events.report('exit', { server: settings.name, pid: child.pid, code, signal, expected: this.#stopping })
    // it may have left others behind
    void child.stop().finally(() => this.#children.delete(child))
    this.#onexit(child, exit, explainStart(error) ?? (signal === null ? `exit code ${code}` : `signal ${signal}`))
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
