import { LogController, type FastifyInstance, type FastifyPluginAsync, type FastifyServerOptions } from 'fastify'
import { describeServer, describeServers } from './banner.js'
import { mcpServers } from './config/plugin.js'
import { mcpProxy } from './plugin.js'
import { checkExposure, pluginOptions } from './plugin-options.js'
import { requestLog } from './request-log.js'
import { SettingError, settingNames, settingsFromEnvironment, settingsFromObject, type Settings } from './settings.js'

/**
 * The app for fastify-cli: `fastify start node_modules/mcp-proxy/dist/app.js -- --command="tsx server.ts"`.
 * Takes the flags of the binary behind `--`, from an `options` export (`--options`), or as `MCP_PROXY_*` in the
 * environment and `.env`; the command is `--command` (and `--args`) or MCP_PROXY_COMMAND, or `--config` names many.
 */
const app: FastifyPluginAsync<Record<string, unknown>> = async (fastify, given) => {
  checkNames(given)
  const settings = { ...settingsFromEnvironment(process.env), ...settingsFromObject(given) }
  if (settings.connect !== undefined) throw new SettingError('--connect serves stdio, which an app has none of: use the binary')
  if ((settings.workers ?? 1) > 1) throw new SettingError('--workers is several processes, and an app is one: use the binary')
  const command = given['command'] ?? process.env['MCP_PROXY_COMMAND']
  const service = settings.config === undefined ? serveCommand(settings, command, given['args']) : serveConfig(settings, settings.config, command)
  await service.register(fastify)

  // the address is known when it is bound: until it has been judged nobody is served
  let refused: SettingError | undefined
  fastify.addHook('onRequest', async () => {
    if (refused !== undefined) throw refused
  })
  fastify.addHook('onListen', async () => {
    const urls: string[] = []
    for (const bound of fastify.addresses()) {
      if (typeof bound === 'string') continue
      const { address, family, port } = bound
      try {
        checkExposure(address, settings)
      } catch (err) {
        // errors of this hook are only logged: the server has to be ended here
        refused = err as SettingError
        fastify.log.fatal({ err }, 'refused to serve')
        process.exitCode = 2
        void fastify.close()
        return
      }
      urls.push(`http://${family === 'IPv6' ? `[${address}]` : address}:${port}`)
    }
    service.describe(fastify).then((describe) => {
      for (const url of urls) process.stdout.write(describe(url))
    }, (err: unknown) => {
      // by default fastify-cli logs fatal errors alone: somebody who mistyped the command would read that all is well
      process.stderr.write(`mcp-proxy: the MCP server does not run; the next request tries again: ${err instanceof Error ? err.message : String(err)}\n`)
      fastify.log.error({ err }, 'the MCP server does not run; the next request tries again')
    })
  })
}

/** What the app serves. */
interface Service {
  readonly register: (fastify: FastifyInstance) => Promise<void>
  /** Resolves when it is known what runs, with what to say then. */
  readonly describe: (fastify: FastifyInstance) => Promise<(url: string) => string>
}

function serveCommand (settings: Settings, command: unknown, args: unknown): Service {
  if (!isCommand(command)) throw new SettingError('no command to serve: give --command="…" behind --, or MCP_PROXY_COMMAND, or --config=mcp.json')
  return {
    register: async (fastify) => { await fastify.register(mcpProxy, { ...pluginOptions(settings, command), args: readArgs(args) }) },
    describe: async (fastify) => {
      await fastify.mcpBridge.start()
      return url => describeServer(url, settings)
    },
  }
}

function serveConfig (settings: Settings, file: string, command: unknown): Service {
  if (command !== undefined) throw new SettingError('--config names servers, and there is a command too: give one of them')
  return {
    register: async (fastify) => { await fastify.register(mcpServers, { file, settings }) },
    describe: async (fastify) => {
      const reports = await fastify.mcpServers.started
      return url => describeServers(url, settings, reports)
    },
  }
}

/** Server options for fastify-cli's `--options`. */
export const options: FastifyServerOptions = { logController: new LogController({ disableRequestLogging: true }), childLoggerFactory: requestLog, return503OnClosing: false }

export default app

/**
 * Names that are nearly a setting's: options of Fastify's come here too, so what is unknown cannot be refused, but a
 * misspelt `--user-id` must not let everybody in.
 * @throws SettingError
 */
function checkNames (given: Readonly<Record<string, unknown>>): void {
  const plain = (name: string): string => name.replaceAll(/[^a-z]/gi, '').toLowerCase()
  const settings = new Map([...settingNames(), 'command', 'args'].map(name => [plain(name), name]))
  for (const name of Object.keys(given)) {
    const asked = plain(name)
    if (settings.has(asked)) continue
    for (const [known, setting] of settings) {
      const near = (asked.startsWith(known) || known.startsWith(asked)) && Math.abs(asked.length - known.length) <= 2
      if (near) throw new SettingError(`unknown option --${name}: did you mean --${setting}?`)
    }
  }
}

function isCommand (value: unknown): value is string | string[] {
  return (typeof value === 'string' && value !== '') || (Array.isArray(value) && value.length > 0)
}

function readArgs (value: unknown): string[] {
  return value === undefined ? [] : (Array.isArray(value) ? value : [value]).map(String)
}
