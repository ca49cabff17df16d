import { rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { settleConnections } from '@mcp-proxy/endpoint'
import Fastify from 'fastify'
import { appOptions } from '../cli/app-options.js'
import { endingOf, onSignals } from '../cli/ending.js'
import { EXIT } from '../cli/exit.js'
import { explain, isUsage, lastWords } from '../cli/failure.js'
import { keepGarbageYoung } from '../cli/garbage.js'
import { openLog } from '../cli/log.js'
import { serviceOf } from '../cli/service.js'
import { Door } from './door.js'
import { Forwarder } from './forwarder.js'
import { removeTraces } from './private-directory.js'
import { privateSocket } from './private-socket.js'
import { newSessionId, stateTag } from './tags.js'
import type { FromWorker, StartMessage, ToWorker } from './messages.js'

// The program of a worker: the server that the binary is otherwise, except that its connections come from the primary.

const DEFAULT_CLOSE_GRACE = 5000
/** Milliseconds beyond the grace in which answers that other workers give have to come. */
const MARGIN = 1000

/** What reacts to the primary once the worker has begun. */
interface Started {
  readonly adopt: (socket: Socket, head: Buffer) => void
  readonly stop: (reason: string) => void
  /** No connection comes any more. */
  readonly end: () => void
  /** The primary is gone: nobody will ask it to stop, or it does not wait any more. */
  readonly orphaned: () => void
}

keepGarbageYoung()
const [,, directory = '', number = ''] = process.argv
const primary = process.ppid
process.once('exit', () => { if (!process.connected || process.ppid !== primary) removeTraces(directory, Number(number)) })
let started: Started | undefined
process.on('message', (message, socket) => hear(message as ToWorker, socket as Socket | undefined))
process.on('disconnect', () => {
  if (started === undefined) process.exit(EXIT.unexpected)
  started.orphaned()
})
// it may have been killed while this one loaded
if (!process.connected) process.exit(EXIT.unexpected)

function hear (message: ToWorker, socket: Socket | undefined): void {
  switch (message.type) {
    case 'start':
      started = begin(message)
      return
    case 'stop':
      started?.stop(message.reason)
      return
    case 'end':
      started?.end()
      return
    case 'beat':
      tell({ type: 'beat' })
      return
    case 'connection':
      // it may have been closed on its way
      if (socket !== undefined) started?.adopt(socket, Buffer.from(message.head, 'latin1'))
  }
}

function tell (message: FromWorker): void {
  // a primary that was killed is told nothing: that it is gone shows soon, and is no reason to drop calls
  if (process.connected) process.send?.(message, undefined, {}, () => {})
}

function begin ({ number, count, directory, settings, target, address, replaces }: StartMessage): Started {
  const log = openLog(settings).child({ worker: number })
  const forwarder = new Forwarder({ directory, count, number, log })
  const service = serviceOf(target, settings, { newSessionId: () => newSessionId(number), stateTag: stateTag(number), preHandler: forwarder.retry })
  let door: Door
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => { end = resolve })
  // the primary may have some on their way here; they are answered as long as this process is there
  const lastConnections = async (): Promise<void> => {
    tell({ type: 'closed' })
    if (process.connected) await ended
  }
  const app = Fastify({
    ...appOptions(log, settings),
    serverFactory: (handler, { keepAliveTimeout, requestTimeout }) => {
      door = new Door(handler, forwarder, { keepAliveTimeout: Number(keepAliveTimeout), requestTimeout: Number(requestTimeout) })
      return door.server
    },
  })
  const ending = endingOf({
    log,
    close: async () => {
      await app.close()
      await lastConnections()
      // again where the last ones have asked for something
      do await settleConnections(app, 0)
      while (await door.drain(MARGIN))
    },
    tell: (error, code) => {
      if (replaces) log.error({ err: error }, 'worker cannot begin')
      else tell({ type: 'failed', message: explain(error), stderr: lastWords(error), code })
    },
  })
  onSignals(ending.stop)

  const serve = async (): Promise<void> => {
    try {
      await service.register(app)
      // in a scope of its own, the last one: hooks of the app itself come before those of the endpoints, which end what is open
      await app.register(async (scope) => { scope.addHook('preClose', async () => { await door.drain((settings['close-grace'] ?? DEFAULT_CLOSE_GRACE) + MARGIN) }) })
      await app.ready()
      const path = privateSocket(directory, number)
      // the one that this one replaces has left it behind
      rmSync(path, { force: true })
      await door.listen(path)
    } catch (error) {
      await ending.failed(error, isUsage(error) ? EXIT.usage : EXIT.unexpected)
      return
    }
    tell({ type: 'serving' })
    const describe = await service.start(app, async (error, code) => {
      if (replaces) log.error({ err: error }, 'the MCP server does not run; the next request tries again')
      else await ending.failed(error, code)
    })
    if (!ending.ended) tell({ type: 'started', banner: describe(address) })
  }
  void serve()
  return {
    adopt: (socket, head) => door.adopt(socket, head),
    stop: (reason) => {
      // terminals signal all processes: it may have begun already
      if (!ending.ended) ending.stop(reason)
    },
    end,
    orphaned: () => {
      end()
      if (ending.ended) process.exit(EXIT.unexpected)
      ending.stop('primary ended')
    },
  }
}
