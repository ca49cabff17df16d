import { checkExposure, pluginOptions } from '../plugin-options.js'
import { endingOf, onSignals } from './ending.js'
import { EXIT } from './exit.js'
import { isUsage } from './failure.js'
import { openLog } from './log.js'
import { watchParent } from './parent.js'
import type { FastifyInstance } from 'fastify'
import type { Early, Service, Target } from './service.js'
import type { Settings } from '../settings.js'

export const DEFAULT_PORT = 8080
export const DEFAULT_HOST = '127.0.0.1'

/** Runs the binary in one process: starts what it serves and the HTTP server, says where it is, and ends both on a signal. */
export async function serve (settings: Settings, target: Target): Promise<void> {
  const { port = DEFAULT_PORT, host = DEFAULT_HOST } = settings
  const log = openLog(settings)
  let early: Early | undefined
  let app: FastifyInstance | undefined
  let service: Service
  const close = async (): Promise<void> => {
    await app?.close()
    await early?.bridge.close()
  }
  const { stop, failed } = endingOf({ log, close })
  onSignals(stop)
  try {
    checkExposure(host, settings)
    // a command takes as long to start as what serves it does to load: both at once
    if ('command' in target) {
      const { createBridge } = await import('@mcp-proxy/stdio-bridge')
      const bridge = createBridge({ ...pluginOptions(settings, target.command), command: target.command }, log)
      early = { bridge, started: bridge.start() }
      // whoever waits for it is told
      early.started.catch(() => {})
    }
    const [{ default: Fastify }, { appOptions }, { serviceOf }, { cutUnfinished }] = await Promise.all([import('fastify'), import('./app-options.js'), import('./service.js'), import('../unfinished.js')])
    service = serviceOf(target, settings, {}, early)
    app = Fastify(appOptions(log, settings))
    await service.register(app)
    cutUnfinished(app, settings['close-grace'])
    await app.ready()
  } catch (error) {
    await failed(error, isUsage(error) ? EXIT.usage : EXIT.unexpected)
    return
  }
  if (settings['exit-with-parent'] === true) watchParent(stop)
  // whichever fails first ends it: a port in use need not wait for a slow command
  const [address, describe] = await Promise.all([
    app.listen({ port, host }).catch((error: unknown) => failed(error, EXIT.listen)),
    service.start(app, failed),
  ])
  if (typeof address === 'string') process.stdout.write(describe(address))
}
