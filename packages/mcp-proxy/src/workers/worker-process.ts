import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Fresh } from './acceptor.js'
import type { FromWorker, StartMessage, ToWorker } from './messages.js'

const PROGRAM = fileURLToPath(new URL('main.js', import.meta.url))

export interface WorkerEvents {
  readonly onmessage: (message: FromWorker) => void
  /** Called once. @param undelivered connections that another worker can have */
  readonly onexit: (code: number | null, signal: string | null, undelivered: readonly Fresh[]) => void
}

/** A worker as the primary sees it. */
export class WorkerProcess {
  /** `Date.now()` of its start. */
  readonly since: number = Date.now()
  /** It takes connections. */
  serving = false
  readonly #child: ChildProcess
  /** Node sends one socket at a time, and loses those that it still has when the worker dies. */
  readonly #queue: Fresh[] = []
  #sending: Fresh | undefined

  constructor (start: StartMessage, { onmessage, onexit }: WorkerEvents) {
    // what it needs to know is not in its arguments, which everybody can see
    this.#child = fork(PROGRAM, [], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      // a port to debug at is the primary's: only one process can have it
      execArgv: process.execArgv.filter(argument => !argument.startsWith('--inspect')),
    })
    let ended = false
    const end = (code: number | null, signal: string | null): void => {
      if (ended) return
      ended = true
      this.serving = false
      this.#sending?.socket.destroy()
      onexit(code, signal, this.#queue.splice(0))
    }
    this.#child.on('message', message => onmessage(message as FromWorker))
    // not 'exit', which may come before its last message
    this.#child.once('close', end)
    // it could not be started: nothing else will tell
    this.#child.on('error', () => { if (this.#child.pid === undefined) end(null, null) })
    this.#send(start)
  }

  get pid (): number | undefined { return this.#child.pid }

  /** Connections that it has yet to take: more than a few when it hangs. */
  get waiting (): number { return this.#queue.length + (this.#sending === undefined ? 0 : 1) }

  give (fresh: Fresh): void {
    this.#queue.push(fresh)
    if (this.#sending === undefined) this.#next()
  }

  /** Lets it finish what is open, and end. */
  stop (reason: string): void {
    this.#send({ type: 'stop', reason })
  }

  kill (): void {
    this.#child.kill('SIGKILL')
  }

  #next (): void {
    // what is left is for others when it has ended
    this.#sending = this.#child.connected ? this.#queue.shift() : undefined
    if (this.#sending === undefined) return
    const { socket, head } = this.#sending
    const message: ToWorker = { type: 'connection', head: head.toString('latin1') }
    this.#child.send(message, socket, {}, (error) => {
      if (error !== null) socket.destroy()
      this.#next()
    })
  }

  #send (message: ToWorker): void {
    // an error means that it is ending: that is told by its exit
    if (this.#child.connected) this.#child.send(message, () => {})
  }
}
