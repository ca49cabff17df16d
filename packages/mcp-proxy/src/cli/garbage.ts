import v8 from 'node:v8'

/**
 * Keeps V8 from allocating among the old objects what has lived long during the first requests. It takes one request that
 * waits for another for a habit of the code; from then on what a message needs would stay until the next full collection,
 * which costs up to a third of the time. Flags are the process's own affair: plugins leave them alone.
 */
export function keepGarbageYoung (): void {
  v8.setFlagsFromString('--no-allocation-site-pretenuring')
}
