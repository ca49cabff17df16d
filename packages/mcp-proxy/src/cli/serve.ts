import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { describeFailures, describeServer, describeServers } from '../banner.js'
import { mcpServers } from '../config/plugin.js'
import { mcpProxy } from '../plugin.js'
import { checkExposure, pluginOptions } from '../plugin-options.js'
import { requestLog } from '../request-log.js'
import { SettingError, type Settings } from '../settings.js'
import { EXIT } from './exit.js'
import { watchParent } from './parent.js'

const DEFAULT_PORT = 8080
const DEFAULT_HOST = '127.0.0.1'

/**
 * Milliseconds in which a second signal is the first one again: on Ctrl-C the terminal signals everybody, and `npx` passes
 * its own signal on.
 */
const SAME_SIGNAL = 300

/** Runs the binary for one command: starts it and the HTTP server, says where it is, and ends both on a signal. */
export async function serveCommand (settings: Settings, command: readonly string[]): Promise<void> {
  await run(settings, {
    register: async (app) => { await app.register(mcpProxy, pluginOptions(settings, command)) },
    start: async (app, failed) => {
      await app.mcpBridge.start().catch((error: unknown) => failed(error, EXIT.command))
      return address => describeServer(address, settings)
    },
  })
}

/** The same for all servers of a configuration: those that fail keep none of the others from being served. */
export async function serveConfig (settings: Settings, file: string): Promise<void> {
  await run(settings, {
    register: async (app) => { await app.register(mcpServers, { file, settings }) },
    start: async (app, failed) => {
      const reports = await app.mcpServers.started
      if (reports.length > 0 && reports.every(({ error }) => error !== undefined)) await failed(new Error(`none of the servers of ${file} runs\n${describeFailures(reports)}`), EXIT.command)
      return address => describeServers(address, settings, reports)
    },
  })
}

interface Service {
  readonly register: (app: FastifyInstance) => Promise<void>
  /** Resolves when it is known what runs, with what to say then. */
  readonly start: (app: FastifyInstance, failed: Ending['failed']) => Promise<(address: string) => string>
}

async function run (settings: Settings, { register, start }: Service): Promise<void> {
  const { port = DEFAULT_PORT, host = DEFAULT_HOST, debug = false } = settings
  // stdout is for people: it says where the server is. Logs are JSON lines on stderr.
  const logger: FastifyBaseLogger = pino({ level: debug ? 'debug' : 'info' }, pino.destination({ dest: 2, sync: true }))
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: !debug }),
    childLoggerFactory: requestLog,
    // answers that open calls wait for are let in while it closes; the endpoints refuse what is new
    return503OnClosing: false,
  })
  const ending = endingOf(app)
  try {
    checkExposure(host, settings)
    await register(app)
    await app.ready()
  } catch (error) {
    await ending.failed(error, isUsage(error) ? EXIT.usage : EXIT.unexpected)
    return
  }
  const { stop, failed } = ending
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop(signal))
  if (settings['exit-with-parent'] === true) watchParent(stop)
  // whichever fails first ends it: a port in use need not wait for a slow command
  const [address, describe] = await Promise.all([
    app.listen({ port, host }).catch((error: unknown) => failed(error, EXIT.listen)),
    start(app, failed),
  ])
  if (typeof address === 'string') process.stdout.write(describe(address))
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

interface Ending {
  readonly stop: (reason: string) => void
  readonly failed: (error: unknown, code: number) => Promise<void>
}

/** The first reason ends calls, sessions and children in order; another one that comes later does not wait. */
function endingOf (app: FastifyInstance): Ending {
  let since: number | undefined
  // what still holds the process, such as an open stdin, is not waited for
  const close = (code: number): Promise<never> => app.close().then(() => process.exit(code), (err: unknown) => {
    app.log.error({ err }, 'could not stop cleanly')
    process.exit(code === EXIT.ok ? EXIT.unexpected : code)
  })
  return {
    stop: (reason) => {
      if (since !== undefined && performance.now() - since < SAME_SIGNAL) return
      if (since !== undefined) process.exit(process.exitCode ?? EXIT.unexpected)
      since = performance.now()
      app.log.info({ reason }, 'stopping')
      void close(EXIT.ok)
    },
    failed: async (error, code) => {
      if (since !== undefined) return
      since = performance.now()
      const lines = lastWords(error).map(line => `  | ${line}\n`)
      process.stderr.write(`mcp-proxy: ${explain(error)}\n${lines.length === 0 ? '' : `The last lines it wrote to stderr:\n${lines.join('')}`}`)
      process.exitCode = code
      await close(code)
    },
  }
}
