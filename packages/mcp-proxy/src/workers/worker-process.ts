import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Fresh } from './acceptor.js'
import type { FromWorker, StartMessage, ToWorker } from './messages.js'
import { nativeHandle, type NativeHandle } from './native-handle.js'
import { Pulse, type PulseOptions } from './pulse.js'

const PROGRAM = fileURLToPath(new URL('main.js', import.meta.url))

export interface WorkerEvents {
  readonly onmessage: (message: Exclude<FromWorker, { type: 'beat' }>) => void
  /** It does not come back to its event loop. Called once. @param silence milliseconds */
  readonly onlost: (silence: number) => void
  /** Called once. @param undelivered connections that another worker can have */
  readonly onexit: (code: number | null, signal: string | null, undelivered: readonly Fresh[]) => void
}

/** How often a worker is asked whether it is there, and how often in vain. */
export type Beat = Pick<PulseOptions, 'interval' | 'misses'>

/** A worker as the primary sees it. */
export class WorkerProcess {
  /** `Date.now()` of its start. */
  readonly since: number = Date.now()
  /** It takes connections. */
  serving = false
  /** Nothing is open there any more. */
  closed = false
  readonly #child: ChildProcess
  /** Node sends one socket at a time, and loses those that it still has when the worker dies. */
  readonly #queue: Fresh[] = []
  #sending: Fresh | undefined
  /** Of the last one that was sent: Node closes it when the worker says that it has come, and never if it dies before. */
  #sent: NativeHandle | undefined
  #current: NativeHandle | undefined
  #ending = false
  readonly #pulse: Pulse

  constructor (start: StartMessage, { onmessage, onlost, onexit }: WorkerEvents, beat: Beat = {}) {
    // what else it needs to know is not in its arguments, which everybody can see; these it needs where nothing is told any more
    this.#child = fork(PROGRAM, [start.directory, String(start.number)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      // a port to debug at is the primary's: only one process can have it
      execArgv: process.execArgv.filter(argument => !argument.startsWith('--inspect')),
    })
    let ended = false
    const end = (code: number | null, signal: string | null): void => {
      if (ended) return
      ended = true
      this.serving = false
      this.closed = true
      this.#pulse.stop()
      this.#sent?.close()
      onexit(code, signal, this.#undelivered())
    }
    this.#child.on('message', (message: FromWorker) => {
      this.#pulse.heard()
      if (message.type !== 'beat') onmessage(message)
    })
    this.#pulse = new Pulse({ ...beat, ask: () => this.#send({ type: 'beat' }), onlost })
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

  /** Lets one that has closed end when it has the connections that wait for it. */
  end (): void {
    if (this.#ending) return
    this.#ending = true
    this.serving = false
    if (this.#sending === undefined) this.#send({ type: 'end' })
  }

  kill (): void {
    this.#child.kill('SIGKILL')
  }

  #next (): void {
    // what is left is for others when it has ended
    this.#sending = this.#child.connected ? this.#queue.shift() : undefined
    if (this.#sending === undefined) {
      if (this.#ending) this.#send({ type: 'end' })
      return
    }
    const { socket, head } = this.#sending
    const handle = this.#current = nativeHandle(socket)
    const message: ToWorker = { type: 'connection', head: head.toString('latin1') }
    this.#child.send(message, socket, {}, (error) => {
      if (error !== null) socket.destroy()
      this.#sent = handle
      this.#next()
    })
  }

  /** What Node has let go of was on its way, and may have come to something. */
  #undelivered (): Fresh[] {
    const waiting = this.#sending === undefined ? [] : [this.#sending]
    if (waiting.some(({ socket }) => nativeHandle(socket) === undefined)) this.#current?.close()
    this.#sending = undefined
    return [...waiting, ...this.#queue.splice(0)].filter(({ socket }) => nativeHandle(socket) !== undefined)
  }

  #send (message: ToWorker): void {
    // an error means that it is ending: that is told by its exit
    if (this.#child.connected) this.#child.send(message, () => {})
  }
}
