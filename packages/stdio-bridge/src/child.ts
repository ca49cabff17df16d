import { existsSync } from 'node:fs'
import { spawn as spawnFile, type ChildProcess } from 'node:child_process'
import { createRequire } from 'node:module'
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
const LINE_BREAK = Buffer.from('\n')
/** Bytes up to which what is sent in one turn is joined; beyond, copying costs more than it saves. */
const JOIN_LIMIT = 64 * 1024
/** How the line and the paragraph separator begin, and other punctuation. */
const SEPARATORS = Buffer.from('\u2028').subarray(0, 2)

/** One run of the server: spawn, lines in, lines out, stop. Knows that a line is a message, nothing else of MCP. */
export class Child {
  /** `undefined` when it could not even be tried to start one. */
  readonly #process: ChildProcess | undefined
  readonly #settings: BridgeSettings
  readonly #log: FastifyBaseLogger
  readonly #stderrTail: string[] = []
  #stopped: Promise<void> | undefined
  #exit: ChildExit | undefined
  #outgoing: Buffer[] = []
  #outgoingBytes = 0
  #pauses = 0

  constructor (settings: BridgeSettings, log: FastifyBaseLogger, handler: ChildHandler) {
    this.#settings = settings
    this.#log = log
    const start = (): ChildProcess => spawn(settings.file, [...settings.args], {
      cwd: settings.cwd,
      env: childEnvironment(settings.environment, settings.env),
      shell: settings.shell,
      stdio: ['pipe', 'pipe', 'pipe'],
      // a group of its own, so that stopping reaches grandchildren and Ctrl-C reaches only the proxy
      detached: process.platform !== 'win32',
      windowsHide: true,
    })
    try {
      this.#process = start()
    } catch (error) {
      // Node reports most reasons with an event, and throws the others
      this.#process = undefined
      queueMicrotask(() => this.#report({ code: null, signal: null, error: error as NodeJS.ErrnoException }, handler))
      return
    }
    living.add(this)
    this.#readOutput(handler)
    this.#readErrors()
    this.#watchExit(this.#process, handler)
  }

  get pid (): number | undefined { return this.#process?.pid }
  get exited (): boolean { return this.#exit !== undefined }
  /** The process is there. One that has ended is reported later: its last words come first. */
  get running (): boolean { return this.#process?.pid !== undefined && this.#process.exitCode === null && this.#process.signalCode === null }
  /** The last lines the child wrote to stderr. */
  get stderrTail (): readonly string[] { return this.#stderrTail }

  /** Writes one message; what the child has not read yet is queued. */
  send (message: Message): void {
    const stdin = this.#process?.stdin
    if (stdin === undefined || stdin === null || !stdin.writable) return
    // all that is sent in one turn leaves in one write: a pipe costs by the call, not by the byte
    if (this.#outgoing.length === 0) setImmediate(() => this.#flush())
    this.#outgoing.push(frame(message.bytes), LINE_BREAK)
    this.#outgoingBytes += message.bytes.length + 1
  }

  #flush (): void {
    const parts = this.#outgoing
    if (parts.length === 0) return
    this.#outgoing = []
    const stdin = this.#process?.stdin
    if (stdin === undefined || stdin === null || !stdin.writable) return
    if (this.#outgoingBytes <= JOIN_LIMIT) {
      stdin.write(Buffer.concat(parts))
    } else {
      stdin.cork()
      for (const part of parts) stdin.write(part)
      stdin.uncork()
    }
    this.#outgoingBytes = 0
  }

  /** Bytes that the child has not read yet. */
  get queuedInput (): number { return this.#outgoingBytes + (this.#process?.stdin?.writableLength ?? 0) }

  /** It is not read, because a reader is slow. */
  get paused (): boolean { return this.#pauses > 0 }

  /** Stops reading from the child, which blocks once the pipe is full, until what is returned has been called; once more is harmless. */
  pause (): () => void {
    const stdout = this.#process?.stdout
    let over = false
    if (this.#pauses++ === 0) stdout?.pause()
    return () => {
      if (over) return
      over = true
      if (--this.#pauses === 0) stdout?.resume()
    }
  }

  /** Ends the child and all it has started. Harmless when called twice. */
  async stop (): Promise<void> {
    if (this.#process === undefined) return
    // what was sent in this turn goes before the end of stdin
    this.#flush()
    this.#stopped ??= terminate(this.#process, this.#settings.stopTimeout).finally(() => living.delete(this))
    await this.#stopped
  }

  /** The last resort when the proxy itself must go at once. */
  kill (): void {
    if (this.pid !== undefined) signalTree(this.pid, 'SIGKILL')
  }

  #readOutput ({ message: onMessage, oversize }: ChildHandler): void {
    let ended = false
    const reader = new LineReader(this.#settings.maxMessageBytes, {
      line: (line) => {
        // without a line break at its end it may be half a message, which only a parse tells
        const messages = ended && !isJson(line) ? [] : Message.readLine(line)
        for (const message of messages) this.#guard(() => onMessage(message))
        if (messages.length === 0) this.#log.warn({ childPid: this.pid, bytes: line.length, excerpt: excerpt(line) }, 'skipped a line on stdout that is not a JSON-RPC message; servers must log to stderr')
      },
      oversize: (head, tail) => this.#guard(() => oversize(head, tail)),
    })
    this.#process?.stdout?.on('data', (chunk: Buffer) => reader.push(chunk)).on('end', () => {
      ended = true
      reader.end()
    })
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
    this.#process?.stderr?.on('data', (chunk: Buffer) => reader.push(chunk)).on('end', () => reader.end())
  }

  #watchExit (child: ChildProcess, handler: ChildHandler): void {
    child.on('error', (error: NodeJS.ErrnoException & { spawnargs?: unknown }) => {
      // the arguments, which may hold keys, must not get into a log with the error
      delete error.spawnargs
      // with a pid it is about a signal that could not be sent: the exit is yet to come
      if (this.pid === undefined) this.#report({ code: null, signal: null, error: explain(error, this.#settings.cwd) }, handler)
    })
    child.once('exit', (code, signal) => {
      const exit: ChildExit = { code, signal, error: undefined }
      child.stdout?.resume()
      // 'close' comes after the last line was read, unless somebody else holds the pipe open
      const timer = setTimeout(() => this.#report(exit, handler), LAST_WORDS).unref()
      child.once('close', () => {
        clearTimeout(timer)
        this.#report(exit, handler)
      })
    })
    for (const stream of [child.stdin, child.stdout, child.stderr]) {
      // a pipe that breaks is no news: the exit tells
      stream?.on('error', () => {})
    }
  }

  #report (exit: ChildExit, handler: ChildHandler): void {
    if (this.#exit !== undefined) return
    this.#exit = exit
    handler.exit(exit)
    // stop() sweeps too, but nobody calls it for a child that ended by itself
    if (this.pid === undefined) living.delete(this)
    else this.#stopped ??= sweep(this.pid, this.#settings.stopTimeout).finally(() => living.delete(this))
  }
}

/** Node blames the command when it is the working directory that does not exist. */
function explain (error: NodeJS.ErrnoException, cwd: string | undefined): NodeJS.ErrnoException {
  if (error.code !== 'ENOENT' || cwd === undefined || existsSync(cwd)) return error
  return Object.assign(new Error(`the working directory ${cwd} does not exist`, { cause: error }), { code: error.code })
}

/**
 * The readline of Node 24, with which servers read stdin, takes U+2028 and U+2029 for line breaks: as they are, a string
 * with one would start a second message there. Escaped they are the same string; outside of strings JSON has none.
 */
function frame (bytes: Buffer): Buffer {
  if (!bytes.includes(SEPARATORS)) return bytes
  return Buffer.from(bytes.toString('utf8').replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029'))
}

function isJson (line: Buffer): boolean {
  try {
    JSON.parse(line.toString())
    return true
  } catch {
    return false
  }
}

/** The start of a stray line, to find who printed it. What looks like a broken message is not shown: it may hold anything. */
function excerpt (line: Buffer): string | undefined {
  return line[0] === 0x7b ? undefined : line.toString('utf8', 0, 120)
}

/** Finds batch files and what PATHEXT names on Windows, where it is loaded; elsewhere Node does all of it. */
const spawn: typeof spawnFile = process.platform === 'win32' ? createRequire(import.meta.url)('cross-spawn') as typeof spawnFile : spawnFile

/** Children that have not been stopped yet: none of them may outlive the proxy. */
const living = new Set<Child>()
process.on('exit', () => {
  for (const child of living) child.kill()
})
