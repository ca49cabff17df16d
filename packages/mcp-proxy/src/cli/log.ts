import type { FastifyBaseLogger } from 'fastify'
import { pino } from 'pino'
import type { Settings } from '../settings.js'

/** The log of the binary. stdout is for people: it says where the server is; logs are JSON lines on stderr. */
export function openLog ({ debug = false }: Settings): FastifyBaseLogger {
  return pino({ level: debug ? 'debug' : 'info' }, pino.destination({ dest: 2, sync: true }))
}
