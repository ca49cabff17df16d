import t from 'tap'
import { Writable } from 'node:stream'
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { requestLog } from '../dist/request-log.js'

interface Setup { lines: Array<Record<string, unknown>>, made: () => number, app: FastifyInstance }

/** An app whose loggers are counted. */
function open (): Setup {
  const lines: Array<Record<string, unknown>> = []
  let made = 0
  const logger: FastifyBaseLogger = pino({ level: 'info', onChild: () => { made++ } }, new Writable({
    write (chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>)
      done()
    }
  }))
  const app = Fastify({ loggerInstance: logger, childLoggerFactory: requestLog, logController: new LogController({ disableRequestLogging: true }) })
  return { lines, made: () => made, app }
}

t.test('a request that logs nothing has no logger made for it', async (t) => {
  const { app, lines, made } = open()
  t.teardown(() => app.close())
  app.get('/', async ({ log }) => ({ level: log.level }))
  await app.ready()
  const before = made()
  t.strictSame((await app.inject('/')).json(), { level: 'info' })
  t.equal(made(), before)
  t.strictSame(lines, [])
})

t.test('what a request logs says which request it is, through children too', async (t) => {
  const { app, lines } = open()
  t.teardown(() => app.close())
  app.get('/', async ({ id, log }) => {
    log.warn({ a: 1 }, 'first')
    log.child({ b: 2 }).error('second')
    log.debug('below the level')
    log.level = 'debug'
    log.debug('at the level')
    return { id, level: log.level }
  })
  const { id, level } = (await app.inject('/')).json<{ id: string, level: string }>()
  t.equal(level, 'debug')
  t.match(lines, [
    { reqId: id, a: 1, msg: 'first', level: 40 },
    { reqId: id, b: 2, msg: 'second', level: 50 },
    { reqId: id, msg: 'at the level', level: 20 },
  ])
  t.equal(lines.length, 3)
})
