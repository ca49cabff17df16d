import type { FastifyBaseLogger } from 'fastify'
import { EXIT } from './exit.js'
import { describeFailure } from './failure.js'

/**
 * Milliseconds in which a second signal is the first one again: on Ctrl-C the terminal signals everybody, and `npx` passes
 * its own signal on.
 */
const SAME_SIGNAL = 300

export interface EndingOptions {
  readonly log: FastifyBaseLogger
  /** Ends calls, sessions and children in order. */
  readonly close: () => Promise<void>
  /** Says why it ends. @default writes to stderr */
  readonly tell?: ((error: unknown, code: number) => void) | undefined
}

/** How the process ends. */
export interface Ending {
  /** It is ending. */
  readonly ended: boolean
  readonly stop: (reason: string) => void
  readonly failed: (error: unknown, code: number) => Promise<void>
}

/** The first reason ends calls, sessions and children in order; another one that comes later does not wait. */
export function endingOf ({ log, close, tell = error => { process.stderr.write(describeFailure(error)) } }: EndingOptions): Ending {
  let since: number | undefined
  // what still holds the process, such as an open stdin, is not waited for
  const end = (code: number): Promise<never> => close().then(() => process.exit(code), (err: unknown) => {
    log.error({ err }, 'could not stop cleanly')
    process.exit(code === EXIT.ok ? EXIT.unexpected : code)
  })
  return {
    get ended () { return since !== undefined },
    stop: (reason) => {
      if (since !== undefined && performance.now() - since < SAME_SIGNAL) return
      if (since !== undefined) process.exit(process.exitCode ?? EXIT.unexpected)
      since = performance.now()
      log.info({ reason }, 'stopping')
      void end(EXIT.ok)
    },
    failed: async (error, code) => {
      if (since !== undefined) return
      since = performance.now()
      tell(error, code)
      process.exitCode = code
      await end(code)
    },
  }
}

/** Every signal that asks a process to end. */
export function onSignals (stop: (signal: string) => void): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop(signal))
}
