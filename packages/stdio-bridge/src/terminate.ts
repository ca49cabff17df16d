import { spawnSync, type ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

/** Process groups exist on POSIX; Windows ends a tree by the parent's id. */
const HAS_GROUPS = process.platform !== 'win32'
const POLL = 20

/**
 * Ends a child and all it has started: end of stdin, SIGTERM, SIGKILL, each after `patience` milliseconds.
 * Wrappers such as `npx` do not pass signals on, so signals go to the whole process group.
 * Resolves when the child has exited and its group is gone.
 */
export async function terminate (child: ChildProcess, patience: number): Promise<void> {
  const { pid } = child
  if (pid === undefined) return
  child.stdin?.end()
  if (!await gone(() => hasExited(child), patience)) {
    signalTree(pid, 'SIGTERM')
    if (!await gone(() => hasExited(child), patience)) signalTree(pid, 'SIGKILL')
    await gone(() => hasExited(child), patience)
  }
  await sweep(pid, patience)
}

/** Ends what a child has left behind in its group: the leader may exit and its grandchildren stay. */
export async function sweep (pid: number, patience: number): Promise<void> {
  if (!HAS_GROUPS || !groupExists(pid)) return
  signalTree(pid, 'SIGTERM')
  if (await gone(() => !groupExists(pid), patience)) return
  signalTree(pid, 'SIGKILL')
  await gone(() => !groupExists(pid), patience)
}

/** Sends a signal to a child and all it has started; says nothing when they are gone already. */
export function signalTree (pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (!HAS_GROUPS) {
    // Windows has no signals: the tree is ended by the parent's id, forcibly where it has to be
    spawnSync('taskkill', ['/pid', String(pid), '/t', ...(signal === 'SIGKILL' ? ['/f'] : [])], { windowsHide: true, stdio: 'ignore' })
    return
  }
  try {
    process.kill(-pid, signal)
  } catch {
    // ESRCH: nobody there
  }
}

function groupExists (pid: number): boolean {
  try {
    process.kill(-pid, 0)
    return true
  } catch {
    return false
  }
}

function hasExited (child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** Whether the condition comes true within the time. A group has no event to wait for, so it is polled. */
async function gone (condition: () => boolean, patience: number): Promise<boolean> {
  for (let waited = 0; waited < patience; waited += POLL) {
    if (condition()) return true
    await sleep(POLL)
  }
  return condition()
}
