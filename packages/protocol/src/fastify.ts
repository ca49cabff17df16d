/** The two Fastify shapes that the seams mention, structurally: this package does not depend on Fastify. */

type LogFn = (object: unknown, message?: string, ...args: unknown[]) => void

export interface FastifyBaseLogger {
  fatal: LogFn
  error: LogFn
  warn: LogFn
  info: LogFn
  debug: LogFn
  trace: LogFn
}

export interface FastifyRequest {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}
