import { createHash } from 'node:crypto'
import { lstatSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmdirSync, rmSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { privateSocket } from './private-socket.js'

const PREFIX = 'mcp-proxy-workers-'
/** Where process ids are from, the process, and what mkdtemp adds. */
const NAME = new RegExp(`^${PREFIX}([\\da-f]{8})-(\\d{1,10})-[\\w-]{6}$`)
const SOCKET = /^\d{1,3}\.sock$/

/**
 * Makes a directory that only this user can enter: whoever reaches a worker's own socket speaks in the name of clients. Its
 * name says whose it is.
 */
export function makePrivateDirectory (): string {
  // mkdtemp makes it with mode 0700
  return mkdtempSync(join(tmpdir(), `${PREFIX}${processSpace()}-${process.pid}-`))
}

export function removePrivateDirectory (directory: string): void {
  rmSync(directory, { recursive: true, force: true })
}

/** For a worker whose primary is gone, which would have done it. The last one takes the directory away. */
export function removeTraces (directory: string, worker: number): void {
  try {
    rmSync(privateSocket(directory, worker), { force: true })
    rmdirSync(directory)
  } catch {
    // others are still there
  }
}

/**
 * Removes directories whose processes were all killed at once. Only such as are this user's and from where process ids
 * mean the same (this boot of this machine, this container), whose process is not there any more, and where no
 * socket is listened on: workers outlive their primary for as long as they have calls open. An id that was
 * given to another process since keeps a directory, and endangers none. Nothing but sockets is removed in it.
 */
export async function removeStaleDirectories (): Promise<void> {
  // pipes leave nothing behind
  if (process.platform === 'win32') return
  const space = processSpace()
  for (const name of readdirSync(tmpdir())) {
    const [, where, pid] = NAME.exec(name) ?? []
    if (where !== space || isThere(Number(pid))) continue
    const directory = join(tmpdir(), name)
    try {
      const about = lstatSync(directory)
      if (!about.isDirectory() || about.uid !== process.getuid?.()) continue
      const sockets = readdirSync(directory).filter(entry => SOCKET.test(entry)).map(entry => join(directory, entry))
      const heard = await Promise.all(sockets.map(isListenedOn))
      if (heard.includes(true)) continue
      for (const socket of sockets) unlinkSync(socket)
      rmdirSync(directory)
    } catch {
      // another process does the same, or something else is in it
    }
  }
}

/** Stands for where process ids are unique, in a few characters: a path of a socket has a hundred at most. */
function processSpace (): string {
  let space = hostname()
  try {
    space = `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    // only Linux has these, and containers
  }
  return createHash('sha256').update(space).digest('hex').slice(0, 8)
}

function isThere (pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // anything but "no such process" is about one that there is
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}

/** Whether a process has a socket; `false` only where that is sure. */
async function isListenedOn (path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(path)
    const answer = (listened: boolean): void => {
      socket.destroy()
      resolve(listened)
    }
    socket.once('connect', () => answer(true)).once('error', (error) => { answer(!('code' in error && error.code === 'ECONNREFUSED')) })
  })
}
