/** Severity of log messages, least severe first (RFC 5424, as in 2025-11-25 "Logging"). */
export const LOG_LEVELS: readonly string[] = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

export function isLogLevel (value: unknown): value is string {
  return typeof value === 'string' && LOG_LEVELS.includes(value)
}
