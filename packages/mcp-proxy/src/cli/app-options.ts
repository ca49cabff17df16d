import { LogController, type FastifyBaseLogger, type FastifyServerOptions } from 'fastify'
import { pino } from 'pino'
import { requestLog } from '../request-log.js'
import type { Settings } from '../settings.js'

/** The log of the binary. stdout is for people: it says where the server is; logs are JSON lines on stderr. */
export function openLog ({ debug = false }: Settings): FastifyBaseLogger {
  return pino({ level: debug ? 'debug' : 'info' }, pino.destination({ dest: 2, sync: true }))
}

/** What the apps of the binary have in common. */
export function appOptions (log: FastifyBaseLogger, { debug = false }: Settings): Pick<FastifyServerOptions, 'childLoggerFactory' | 'logController' | 'return503OnClosing'> & { loggerInstance: FastifyBaseLogger } {
  return {
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: !debug }),
    childLoggerFactory: requestLog,
    // answers that open calls wait for are let in while it closes; the endpoints refuse what is new
    return503OnClosing: false,
  }
}
