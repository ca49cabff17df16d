import { basename, join } from 'node:path'

/** Where a worker listens for what other workers pass on. On Windows a pipe, whose name nobody can guess. */
export function privateSocket (directory: string, worker: number): string {
  return process.platform === 'win32' ? `\\\\.\\pipe\\${basename(directory)}-${worker}` : join(directory, `${worker}.sock`)
}
