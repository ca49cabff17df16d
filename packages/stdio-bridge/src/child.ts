import type { ChildProcess } from 'node:child_process'
import spawn from 'cross-spawn'
import { Message, type FastifyBaseLogger } from '@mcp-proxy/protocol'
import { childEnvironment } from './environment.js'
import { LineReader } from './line-reader.js'
import { signalTree, sweep, terminate } from './terminate.js'
import type { BridgeSettings } from './options.js'

/** How a child ended: an exit code, a signal, or the reason why it never ran. */
export interface ChildExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly error: NodeJS.ErrnoException | undefined
}

/** What a child reports. */
export interface ChildHandler {
  message: (message: Message) => void
  /** A message over the limit, of which only the two ends are known. */
  oversize: (head: Buffer, tail: Buffer) => void
  /** Called once, after the last message. */
  exit: (exit: ChildExit) => void
}

/** Lines of stderr that are kept to explain an exit. */
const STDERR_TAIL = 20
const STDERR_LINE_LIMIT = 16 * 1024
/** A grandchild may hold stdout open long after the child itself has exited. */
const LAST_WORDS = 1000

/** One run of the server: spawn, lines in, lines out, stop. Knows that a line is a message, nothing else of MCP. */
export class Child {
  readonly #process: ChildProcess
  readonly #settings: BridgeSettings
  readonly #log: FastifyBaseLogger
  readonly #stderrTail: string[] = []
  #stopped: Promise<void> | undefined
  #exit: ChildExit | undefined
  #corked = false

  constructor (settings: BridgeSettings, log: FastifyBaseLogger, handler: ChildHandler) {
    this.#settings = settings
    this.#log = log
    this.#process = spawn(settings.file, [...settings.args], {
      cwd: settings.cwd,
      env: childEnvironment(settings.environment, settings.env),
      shell: settings.shell,
      stdio: ['pipe', 'pipe', 'pipe'],
      // a group of its own, so that stopping reaches grandchildren and Ctrl-C reaches only the proxy
      detached: process.platform !== 'win32',
      windowsHide: true,
    })
    living.add(this)
    this.#readOutput(handler)
    this.#readErrors()
    this.#watchExit(handler)
    // a child that closes its stdin has ended or will: the exit tells
    this.#process.stdin?.on('error', () => {})
  }

  get pid (): number | undefined { return this.#process.pid }
  get exited (): boolean { return this.#exit !== undefined }
  /** The last lines the child wrote to stderr. */
  get stderrTail (): readonly string[] { return this.#stderrTail }

  /** Writes one message. `false` when the child reads too slowly; the message is queued all the same. */
  send (message: Message): boolean {
    const { stdin } = this.#process
    if (stdin === null || !stdin.writable) return true
    // all that is sent in one turn leaves in one write
    if (!this.#corked) {
      this.#corked = true
      stdin.cork()
      process.nextTick(() => {
        this.#corked = false
        stdin.uncork()
      })
    }
    stdin.write(message.bytes)
    return stdin.write('\n')
  }

  /** Stops reading from the child: it blocks once the pipe is full. */
  pause (): void { this.#process.stdout?.pause() }
  resume (): void { this.#process.stdout?.resume() }

  /** Ends the child and all it has started. Harmless when called twice. */
  async stop (): Promise<void> {
    this.#stopped ??= terminate(this.#process, this.#settings.stopTimeout).finally(() => living.delete(this))
    await this.#stopped
  }

  /** The last resort when the proxy itself must go at once. */
  kill (): void {
    if (this.pid !== undefined) signalTree(this.pid, 'SIGKILL')
  }

  #readOutput ({ message: onMessage, oversize }: ChildHandler): void {
    const reader = new LineReader(this.#settings.maxMessageBytes, {
      line: (line) => {
        const message = Message.read(line)
        if (message !== undefined) this.#guard(() => onMessage(message))
        else this.#log.warn({ childPid: this.pid, bytes: line.length, excerpt: excerpt(line) }, 'skipped a line on stdout that is not a JSON-RPC message; servers must log to stderr')
      },
      oversize: (head, tail) => this.#guard(() => oversize(head, tail)),
    })
    this.#process.stdout?.on('data', (chunk: Buffer) => reader.push(chunk)).on('end', () => reader.end())
  }

  /** One message that cannot be passed on must not end the proxy, which an error in a stream's handler would. */
  #guard (pass: () => void): void {
    try {
      pass()
    } catch (err) {
      this.#log.error({ childPid: this.pid, err }, 'could not pass on a message of the server')
    }
  }

  #readErrors (): void {
    const keep = (line: Buffer): void => {
      const text = line.toString()
      this.#stderrTail.push(text)
      if (this.#stderrTail.length > STDERR_TAIL) this.#stderrTail.shift()
      this.#log.info({ childPid: this.pid, stderr: text }, 'server wrote to stderr')
    }
    const reader = new LineReader(STDERR_LINE_LIMIT, { line: keep, oversize: keep })
    this.#process.stderr?.on('data', (chunk: Buffer) => reader.push(chunk)).on('end', () => reader.end())
  }

  #watchExit (handler: ChildHandler): void {
    const report = (exit: ChildExit): void => {
      if (this.#exit !== undefined) return
      this.#exit = exit
      handler.exit(exit)
      // stop() sweeps too, but nobody calls it for a child that ended by itself
      if (this.pid !== undefined && this.#stopped === undefined) {
        this.#stopped = sweep(this.pid, this.#settings.stopTimeout).finally(() => living.delete(this))
      }
    }
    this.#process.once('error', (error: NodeJS.ErrnoException) => {
      if (this.pid !== undefined) return
      living.delete(this)
      report({ code: null, signal: null, error })
    })
    this.#process.once('exit', (code, signal) => {
      const exit: ChildExit = { code, signal, error: undefined }
      this.resume()
      // 'close' comes after the last line was read, unless somebody else holds the pipe open
      const timer = setTimeout(report, LAST_WORDS, exit).unref()
      this.#process.once('close', () => {
        clearTimeout(timer)
        report(exit)
      })
    })
  }
}

/** The start of a stray line, to find who printed it. What looks like a broken message is not shown: it may hold anything. */
function excerpt (line: Buffer): string | undefined {
  return line[0] === 0x7b ? undefined : line.toString('utf8', 0, 120)
}

/** Children that have not been stopped yet: none of them may outlive the proxy. */
const living = new Set<Child>()
process.on('exit', () => {
  for (const child of living) child.kill()
})
