/** Severity of log messages, least severe first (RFC 5424, as in 2025-11-25 "Logging"). */
export const LOG_LEVELS: readonly string[] = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

export function isLogLevel (value: unknown): value is string {
  return typeof value === 'string' && LOG_LEVELS.includes(value)
}

/** Whether a client that asked for `wanted` gets a message of `level`. Unknown levels pass: they are the server's business. */
export function admitsLevel (wanted: string | undefined, level: unknown): boolean {
  if (wanted === undefined || typeof level !== 'string') return true
  const severity = LOG_LEVELS.indexOf(level)
  return severity === -1 || severity >= LOG_LEVELS.indexOf(wanted)
}

/** The least severe of some levels. */
export function mostVerbose (levels: Iterable<string | undefined>): string | undefined {
  let lowest: string | undefined
  for (const level of levels) {
    if (level !== undefined && (lowest === undefined || LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(lowest))) lowest = level
  }
  return lowest
}
