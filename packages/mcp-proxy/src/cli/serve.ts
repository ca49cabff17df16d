import Fastify from 'fastify'
import { checkExposure } from '../plugin-options.js'
import { appOptions, openLog } from './app-options.js'
import { endingOf, onSignals } from './ending.js'
import { EXIT } from './exit.js'
import { isUsage } from './failure.js'
import { watchParent } from './parent.js'
import { serviceOf, type Target } from './service.js'
import type { Settings } from '../settings.js'

export const DEFAULT_PORT = 8080
export const DEFAULT_HOST = '127.0.0.1'

/** Runs the binary in one process: starts what it serves and the HTTP server, says where it is, and ends both on a signal. */
export async function serve (settings: Settings, target: Target): Promise<void> {
  const { port = DEFAULT_PORT, host = DEFAULT_HOST } = settings
  const service = serviceOf(target, settings)
  const app = Fastify(appOptions(openLog(settings), settings))
  const { stop, failed } = endingOf({ log: app.log, close: async () => { await app.close() } })
  try {
    checkExposure(host, settings)
    await service.register(app)
    await app.ready()
  } catch (error) {
    await failed(error, isUsage(error) ? EXIT.usage : EXIT.unexpected)
    return
  }
  onSignals(stop)
  if (settings['exit-with-parent'] === true) watchParent(stop)
  // whichever fails first ends it: a port in use need not wait for a slow command
  const [address, describe] = await Promise.all([
    app.listen({ port, host }).catch((error: unknown) => failed(error, EXIT.listen)),
    service.start(app, failed),
  ])
  if (typeof address === 'string') process.stdout.write(describe(address))
}
