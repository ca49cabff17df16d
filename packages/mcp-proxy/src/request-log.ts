import type { FastifyBaseLogger, FastifyServerOptions } from 'fastify'

type Factory = NonNullable<FastifyServerOptions['childLoggerFactory']>
type Bindings = Parameters<FastifyBaseLogger['child']>[0]
type ChildOptions = Parameters<FastifyBaseLogger['child']>[1]
type Write = FastifyBaseLogger['info']

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** The logger of one request, made when there is something to log: most requests have nothing, and a child of pino costs more than its message. */
class RequestLog implements FastifyBaseLogger {
  declare readonly fatal: Write
  declare readonly error: Write
  declare readonly warn: Write
  declare readonly info: Write
  declare readonly debug: Write
  declare readonly trace: Write
  declare readonly silent: Write
  readonly #parent: FastifyBaseLogger
  readonly #bindings: Bindings
  readonly #options: ChildOptions
  #made: FastifyBaseLogger | undefined

  constructor (parent: FastifyBaseLogger, bindings: Bindings, options: ChildOptions) {
    this.#parent = parent
    this.#bindings = bindings
    this.#options = options
  }

  static {
    // on the prototype, where Fastify looks for them with each request
    for (const level of LEVELS) {
      const write = function (this: RequestLog, ...args: Parameters<Write>): void { this.made[level](...args) }
      Object.defineProperty(RequestLog.prototype, level, { value: write })
    }
  }

  get level (): string { return (this.#made ?? this.#parent).level }
  set level (level: string) { this.made.level = level }

  child (bindings: Bindings, options?: ChildOptions): FastifyBaseLogger {
    return this.made.child(bindings, options)
  }

  get made (): FastifyBaseLogger {
    return (this.#made ??= this.#parent.child(this.#bindings, this.#options))
  }
}

/** Fastify's `childLoggerFactory` for apps whose requests log little. */
export const requestLog: Factory = (parent, bindings, options) => new RequestLog(parent, bindings, options) as unknown as ReturnType<Factory>
