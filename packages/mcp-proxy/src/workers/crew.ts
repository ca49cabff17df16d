import type { FastifyBaseLogger } from 'fastify'
import type { Fresh } from './acceptor.js'
import { mcpError } from '@mcp-proxy/protocol'
import { EXIT } from '../cli/exit.js'
import type { FromWorker, StartMessage } from './messages.js'
import { WorkerProcess, type Beat } from './worker-process.js'

/** Connections that wait while no worker takes any. */
const MAX_BACKLOG = 1000
/** Connections that wait for one worker; more go to others. */
const MAX_WAITING = 1000
/** Milliseconds until one that has died is replaced, doubled each time up to the second. */
const DELAY = 250
const MAX_DELAY = 30_000
/** Milliseconds after which one that dies had worked well. */
const HEALTHY = 60_000

/** How the workers have begun: what to tell people; or why one of them cannot, and the exit code for that. */
export type Outcome = { readonly banner: string } | { readonly failure: Error, readonly code: number }

export interface CrewOptions {
  /** What all are told, but for where they are and their numbers. */
  readonly start: Omit<StartMessage, 'type' | 'number' | 'address' | 'directory' | 'replaces'>
  /** Milliseconds that they may take to end before they are killed. */
  readonly patience: number
  readonly log: FastifyBaseLogger
  /** How often workers are asked whether they are there. @default every 5 s; one that has not answered 6 times in a row is ended */
  readonly beat?: Beat | undefined
}

/** The workers: as many as were asked for. One that dies is replaced. */
export class Crew {
  readonly #options: CrewOptions
  readonly #workers = new Map<number, WorkerProcess>()
  readonly #timers = new Set<NodeJS.Timeout>()
  /** How often in a row one has died, by number. */
  readonly #deaths = new Map<number, number>()
  readonly #banners = new Map<number, string>()
  readonly #backlog: Fresh[] = []
  /** Settles `start`. */
  #onstart: ((outcome: Outcome) => void) | undefined
  #address = ''
  #directory = ''
  #turn = 0
  #closing = false
  /** While it waits for workers that end: looks whether it still has to. */
  #onchange: (() => void) | undefined
  #patience: NodeJS.Timeout | undefined

  constructor (options: CrewOptions) {
    this.#options = options
  }

  /**
   * Resolves when all work, or one of them cannot.
   * @param address where people reach the proxy
   * @param directory where they have their private sockets
   */
  async start (address: string, directory: string): Promise<Outcome> {
    this.#address = address
    this.#directory = directory
    return await new Promise((resolve) => {
      this.#onstart = resolve
      for (let number = 1; number <= this.#options.start.count; number++) this.#begin(number, false)
    })
  }

  /** Gives a connection to the worker that its request names, or else to the next one. */
  give (fresh: Fresh, number: number | undefined): void {
    const named = number === undefined ? undefined : this.#workers.get(number)
    const worker = named?.serving === true && named.waiting < MAX_WAITING ? named : this.#next()
    if (worker !== undefined) worker.give(fresh)
    else if (this.#closing || this.#backlog.length >= MAX_BACKLOG) fresh.socket.destroy()
    else this.#backlog.push(fresh)
  }

  /** Lets all finish what is open. Resolves when nothing is: they still take connections, and refuse what comes. */
  async stop (reason: string): Promise<void> {
    this.#closing = true
    for (const timer of this.#timers) clearTimeout(timer)
    for (const { socket } of this.#backlog.splice(0)) socket.destroy()
    for (const worker of this.#workers.values()) worker.stop(reason)
    this.#patience = setTimeout(() => {
      this.#options.log.error({ workers: [...this.#workers.keys()] }, 'workers do not end, and are killed')
      for (const worker of this.#workers.values()) worker.kill()
    }, this.#options.patience)
    await this.#until(() => [...this.#workers.values()].every(({ closed }) => closed))
  }

  /** Ends them, after the last connection that was given away. Resolves when they have ended. */
  async end (): Promise<void> {
    for (const worker of this.#workers.values()) worker.end()
    await this.#until(() => this.#workers.size === 0)
    clearTimeout(this.#patience)
  }

  /** Waits for something about the workers. */
  async #until (holds: () => boolean): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#onchange = () => { if (holds()) resolve() }
      this.#onchange()
    })
    this.#onchange = undefined
  }

  #begin (number: number, replaces: boolean): void {
    const worker = new WorkerProcess({ ...this.#options.start, type: 'start', number, address: this.#address, directory: this.#directory, replaces }, {
      onmessage: message => this.#hear(number, worker, message),
      onlost: silence => this.#lost(number, worker, silence),
      onexit: (code, signal, undelivered) => this.#ended(number, worker, { code, signal }, undelivered),
    }, this.#options.beat)
    this.#workers.set(number, worker)
  }

  /** Those that take connections, one after the other; one that hangs has some waiting, and is left out. */
  #next (): WorkerProcess | undefined {
    const serving = [...this.#workers.values()].filter(worker => worker.serving && worker.waiting < MAX_WAITING)
    const least = Math.min(...serving.map(worker => worker.waiting))
    const free = serving.filter(worker => worker.waiting === least)
    return free[this.#turn++ % free.length]
  }

  #hear (number: number, worker: WorkerProcess, message: Exclude<FromWorker, { type: 'beat' }>): void {
    switch (message.type) {
      case 'serving':
        worker.serving = true
        for (const fresh of this.#backlog.splice(0)) this.give(fresh, undefined)
        return
      case 'started':
        this.#options.log.info({ worker: number, workerPid: worker.pid }, 'worker is ready')
        this.#banners.set(number, message.banner)
        if (this.#banners.size < this.#options.start.count) return
        this.#settle({ banner: message.banner })
        return
      case 'closed':
        worker.closed = true
        // one that was asked by somebody else to end, or cannot begin, leaves the others alone
        if (!this.#closing) worker.end()
        this.#onchange?.()
        return
      case 'failed':
        // later it is one that replaces another, whose own log line tells
        this.#settle({ failure: failureOf(message), code: message.code })
    }
  }

  /** The first that says something is heard: the others have the same command line. */
  #settle (outcome: Outcome): void {
    this.#onstart?.(outcome)
    this.#onstart = undefined
  }

  /** Only SIGKILL ends a process that does not come back to its event loop, or was stopped. */
  #lost (number: number, worker: WorkerProcess, silence: number): void {
    this.#options.log.warn({ err: mcpError('MCP_ERR_WORKER_SILENT', number, Math.round(silence / 1000)), worker: number, workerPid: worker.pid }, 'worker does not answer; it is ended')
    worker.kill()
  }

  #ended (number: number, worker: WorkerProcess, how: { code: number | null, signal: string | null }, undelivered: readonly Fresh[]): void {
    this.#workers.delete(number)
    for (const fresh of undelivered) this.give(fresh, undefined)
    if (this.#closing) {
      this.#onchange?.()
      return
    }
    if (this.#onstart !== undefined) {
      this.#settle({ failure: new Error(`worker ${number} has ended before it was ready (${how.signal ?? how.code})`), code: EXIT.unexpected })
      return
    }
    const deaths = Date.now() - worker.since < HEALTHY ? (this.#deaths.get(number) ?? 0) + 1 : 1
    this.#deaths.set(number, deaths)
    const delay = Math.min(DELAY * 2 ** (deaths - 1), MAX_DELAY)
    this.#options.log.error({ worker: number, ...how, delay }, 'worker has ended, and its sessions with it: another one follows')
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#begin(number, true)
    }, delay)
    this.#timers.add(timer)
  }
}

/** An error that reads as it did in the worker. */
function failureOf ({ message, stderr }: FromWorker & { type: 'failed' }): Error {
  return Object.assign(new Error(message), { stderr })
}
