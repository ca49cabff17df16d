import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { describeServer } from '../banner.js'
import { mcpProxy } from '../plugin.js'
import { checkExposure, pluginOptions } from '../plugin-options.js'
import { SettingError, type Settings } from '../settings.js'
import { EXIT } from './exit.js'
import { watchParent } from './parent.js'

const DEFAULT_PORT = 8080
const DEFAULT_HOST = '127.0.0.1'

/** Runs the binary: starts the command and the HTTP server, says where it is, and ends both on a signal. */
export async function serve (settings: Settings, command: readonly string[]): Promise<void> {
  const { port = DEFAULT_PORT, host = DEFAULT_HOST, debug = false } = settings
  // stdout is for people: it says where the server is. Logs are JSON lines on stderr.
  const logger: FastifyBaseLogger = pino({ level: debug ? 'debug' : 'info' }, pino.destination({ dest: 2, sync: true }))
  const app = Fastify({ loggerInstance: logger, logController: new LogController({ disableRequestLogging: !debug }) })
  try {
    checkExposure(host, settings)
    await app.register(mcpProxy, pluginOptions(settings, command))
    await app.ready()
  } catch (error) {
    await fail(app, error, isUsage(error) ? EXIT.usage : EXIT.unexpected)
    return
  }
  const stop = stopper(app)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop(signal))
  if (settings['exit-with-parent'] === true) watchParent(stop)
  const [listening, started] = await Promise.allSettled([app.listen({ port, host }), app.mcpBridge.start()])
  if (listening.status === 'rejected') await fail(app, listening.reason, EXIT.listen)
  else if (started.status === 'rejected') await fail(app, started.reason, EXIT.command)
  else process.stdout.write(describeServer(listening.value, settings))
}

async function fail (app: FastifyInstance, error: unknown, code: number): Promise<void> {
  const lines = lastWords(error).map(line => `  | ${line}\n`)
  process.stderr.write(`mcp-proxy: ${explain(error)}\n${lines.length === 0 ? '' : `The last lines it wrote to stderr:\n${lines.join('')}`}`)
  process.exitCode = code
  await app.close()
}

function explain (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return `${error.message.replace(/^listen EADDRINUSE: /, '')}. Stop what uses it, or choose another with --port`
  if (code === 'EACCES') return `${error.message}. Ports below 1024 need rights: choose another with --port`
  return error.message
}

function lastWords (error: unknown): readonly string[] {
  return error instanceof Error && 'stderr' in error && Array.isArray(error.stderr) ? error.stderr : []
}

function isUsage (error: unknown): boolean {
  return error instanceof SettingError || (error instanceof Error && 'code' in error && (error.code === 'MCP_ERR_OPTION' || error.code === 'MCP_ERR_COMMAND'))
}

/** The first reason to stop ends calls, sessions and children in order; a second does not wait. */
function stopper (app: FastifyInstance): (reason: string) => void {
  let stopping = false
  return (reason) => {
    if (stopping) process.exit(EXIT.unexpected)
    stopping = true
    app.log.info({ reason }, 'stopping')
    app.close().then(() => process.exit(EXIT.ok), (err: unknown) => {
      app.log.error({ err }, 'could not stop cleanly')
      process.exit(EXIT.unexpected)
    })
  }
}
