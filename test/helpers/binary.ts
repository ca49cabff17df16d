import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

interface Teardown { teardown: (fn: () => unknown) => void }

export const BINARY = fileURLToPath(new URL('../../../packages/mcp-proxy/bin/mcp-proxy.js', import.meta.url))

/** A program that runs, and all that it writes. */
export interface Running {
  readonly process: ChildProcess
  readonly stdout: () => string
  readonly stderr: () => string
  /** Waits until what was written to stdout or stderr fits, and fails when the program ends before. */
  readonly wrote: (pattern: RegExp) => Promise<RegExpExecArray>
  /** Waits for its end, and for the end of everybody who still holds its stdout. */
  readonly ended: Promise<{ code: number | null, signal: string | null }>
  /** Where it listens, when it says so. */
  readonly url: () => Promise<string>
  /** Its log: every line of stderr that is JSON. */
  readonly log: () => Array<Record<string, unknown>>
}

export interface RunOptions {
  env?: Record<string, string>
  cwd?: string
  /** A pipe as file descriptor 3, which Node does not close when the program has ended, as it closes stdin. */
  fourth?: boolean
}

/** Runs a program of this Node, with an environment that holds nothing of the test runner's. Killed with the test. */
export function runNode (t: Teardown, args: readonly string[], { env = {}, cwd, fourth = false }: RunOptions = {}): Running {
  const variables = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...env }
  // tap loads itself into every Node that a test spawns, a second each; only coverage needs that
  const command = process.env['TAP_DISABLE_COVERAGE'] === '1' ? ['env', '-i', ...Object.entries(variables).map(pair => pair.join('=')), process.execPath] : [process.execPath]
  const child = spawn(command[0] ?? '', [...command.slice(1), ...args], { cwd, env: variables, stdio: ['pipe', 'pipe', 'pipe', fourth ? 'pipe' : 'ignore'] })
  let [out, err] = ['', '']
  const waiting = new Set<() => void>()
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    out += text
    for (const look of [...waiting]) look()
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    err += text
    for (const look of [...waiting]) look()
  })
  let closed = false
  const ended = once(child, 'close').then(([code, signal]: Array<number | string | null>) => {
    closed = true
    for (const look of [...waiting]) look()
    return { code: code as number | null, signal: signal as string | null }
  })
  t.teardown(async () => {
    // a second signal does not wait: SIGKILL would leave children behind
    child.kill('SIGTERM')
    await ended
  })
  const wrote: Running['wrote'] = pattern => new Promise((resolve, reject) => {
    const look = (): void => {
      const found = pattern.exec(out) ?? pattern.exec(err)
      if (found === null && !closed) return
      waiting.delete(look)
      if (found === null) reject(new Error(`it ended without ${pattern}:\n${out}\n${err}`))
      else resolve(found)
    }
    waiting.add(look)
    look()
  })
  return {
    process: child,
    stdout: () => out,
    stderr: () => err,
    wrote,
    ended,
    url: async () => (await wrote(/MCP server ready:[^]*?(http:\/\/[\d.]+:\d+)/))[1] ?? '',
    log: () => err.split('\n').filter(line => line.startsWith('{')).map(line => JSON.parse(line) as Record<string, unknown>),
  }
}

/** Runs the binary. */
export function runBinary (t: Teardown, args: readonly string[], options?: RunOptions): Running {
  return runNode(t, [BINARY, ...args], options)
}

/** Whether a process is there and is no zombie. */
export function isAlive (pid: number): boolean {
  try {
    if (process.platform !== 'linux') return process.kill(pid, 0)
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
