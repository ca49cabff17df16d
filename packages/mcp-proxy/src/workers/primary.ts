import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import { appOptions } from '../cli/app-options.js'
import { openLog } from '../cli/log.js'
import { endingOf, onSignals } from '../cli/ending.js'
import { EXIT } from '../cli/exit.js'
import { isUsage } from '../cli/failure.js'
import { watchParent } from '../cli/parent.js'
import { DEFAULT_HOST, DEFAULT_PORT } from '../cli/serve.js'
import { checkExposure } from '../plugin-options.js'
import type { Target } from '../cli/service.js'
import type { Settings } from '../settings.js'
import { Acceptor } from './acceptor.js'
import { Crew } from './crew.js'
import { makePrivateDirectory, removePrivateDirectory, removeStaleDirectories } from './private-directory.js'

const DEFAULT_CLOSE_GRACE = 5000
const DEFAULT_STOP_TIMEOUT = 2000
/** Milliseconds that workers get beyond what their settings allow for ending. */
const MARGIN = 5000

/**
 * Runs the binary with `--workers`: a process that accepts connections and serves none, and workers that do. Workers are
 * forked, not made by node:cluster, which shares what workers listen on among them: here each has a socket of its own, and
 * the connections of clients are handed out by what their first request says.
 */
export async function servePrimary (settings: Settings, target: Target): Promise<void> {
  const { port = DEFAULT_PORT, host = DEFAULT_HOST, workers: count = 1 } = settings
  const log = openLog(settings)
  const crew = new Crew({
    start: { count, target, settings: { ...settings, 'state-key': settings['state-key'] ?? randomBytes(32).toString('base64url') } },
    patience: (settings['close-grace'] ?? DEFAULT_CLOSE_GRACE) + 3 * (settings['stop-timeout'] ?? DEFAULT_STOP_TIMEOUT) + MARGIN,
    log,
  })
  const acceptor = new Acceptor((fresh, worker) => crew.give(fresh, worker))
  // an app for the sake of its listen: names of hosts with several addresses, and what the log says
  const app = Fastify({ ...appOptions(log, settings), serverFactory: () => serverFor(acceptor) })
  let reason = 'failed'
  const close = async (): Promise<void> => {
    // answers that open calls wait for are let in until all are done
    await crew.stop(reason)
    // connections that are there already are accepted in one turn of the event loop, and read in the next
    await turn()
    await turn()
    const closed = app.close()
    acceptor.close()
    await crew.end()
    await closed
  }
  const ending = endingOf({ log, close })
  const stop = (why: string): void => {
    reason = why
    ending.stop(why)
  }
  onSignals(stop)
  if (settings['exit-with-parent'] === true) watchParent(stop)
  try {
    checkExposure(host, settings)
  } catch (error) {
    await ending.failed(error, isUsage(error) ? EXIT.usage : EXIT.unexpected)
    return
  }
  const address = await app.listen({ port, host }).catch((error: unknown) => ending.failed(error, EXIT.listen))
  if (typeof address !== 'string' || ending.ended) return
  // not before there is something to start: who is killed in between leaves it behind
  const directory = makePrivateDirectory()
  process.once('exit', () => removePrivateDirectory(directory))
  const outcome = await crew.start(address, directory)
  removeStaleDirectories().catch((err: unknown) => log.debug({ err }, 'could not look for directories that others have left behind'))
  if ('banner' in outcome) process.stdout.write(outcome.banner)
  else await ending.failed(outcome.failure, outcome.code)
}

/** A server that parses nothing: each connection is given away. */
function serverFor (acceptor: Acceptor): Server {
  const server = createServer().removeAllListeners('connection')
  server.on('connection', acceptor.accept)
  // nothing is read before somebody looks; an option of net.Server that http has none for
  return Object.assign(server, { pauseOnConnect: true })
}
