import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

/** A directory that only this user can enter: whoever reaches a worker's own socket speaks in the name of clients. */
export function makePrivateDirectory (): string {
  // mkdtemp makes it with mode 0700
  return mkdtempSync(join(tmpdir(), 'mcp-proxy-'))
}

export function removePrivateDirectory (directory: string): void {
  rmSync(directory, { recursive: true, force: true })
}

/** Where a worker listens for what other workers pass on. On Windows a pipe, whose name nobody can guess. */
export function privateSocket (directory: string, worker: number): string {
  return process.platform === 'win32' ? `\\\\.\\pipe\\${basename(directory)}-${worker}` : join(directory, `${worker}.sock`)
}
