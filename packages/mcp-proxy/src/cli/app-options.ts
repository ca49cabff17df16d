import { LogController, type FastifyBaseLogger, type FastifyServerOptions } from 'fastify'
import { requestLog } from '../request-log.js'
import type { Settings } from '../settings.js'

/** What the apps of the binary have in common. */
export function appOptions (log: FastifyBaseLogger, { debug = false }: Settings): Pick<FastifyServerOptions, 'childLoggerFactory' | 'logController' | 'return503OnClosing' | 'schemaController'> & { loggerInstance: FastifyBaseLogger } {
  return {
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: !debug }),
    childLoggerFactory: requestLog,
    // answers that open calls wait for are let in while it closes; the endpoints refuse what is new
    return503OnClosing: false,
    // what Fastify compiles schemas with is a third of what it loads, and no route of the binary has a schema
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  }
}

function noSchemas (): never {
  throw new Error('the binary has no routes with schemas')
}
