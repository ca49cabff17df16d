import fp from 'fastify-plugin'
import { mcpError } from '@mcp-proxy/protocol'
import { DEFAULT_CLOSE_GRACE, rpcErrorHandler, settleConnections, watchConnections } from '@mcp-proxy/endpoint'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { SettingError, type Settings } from '../settings.js'
import { parseConfig, readConfigFile } from './file.js'
import type { OwnOptions } from './served.js'
import { Servers, type ServerReport } from './servers.js'
import { watchConfig } from './watch.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** The servers of a configuration file. */
    mcpServers: {
      /** How the servers are that the file named at first; resolves when each is known to run, or not to. Never rejects. */
      readonly started: Promise<readonly ServerReport[]>
    }
  }
}

export interface McpServersOptions {
  /** Path of the file. */
  readonly file: string
  /** What all servers have in common. */
  readonly settings: Settings
  /** Options that the endpoints of all servers get besides. @default none */
  readonly own?: OwnOptions | undefined
}

const plugin: FastifyPluginAsync<McpServersOptions> = async (fastify, { file, settings, own }) => {
  if (settings.endpoint !== undefined) throw new SettingError('--endpoint is for one server: those of --config are at /<name>/mcp and /<name>/sse')
  let text = readConfigFile(file)
  const config = parseConfig(text, process.env)
  const servers = new Servers({ settings, own, prefix: fastify.prefix, log: fastify.log })

  let tell: (reports: Promise<readonly ServerReport[]>) => void = () => {}
  fastify.decorate('mcpServers', { started: new Promise<readonly ServerReport[]>((resolve) => { tell = resolve }) })
  addRoutes(fastify, servers)
  watchConnections(fastify)

  let unwatch = (): void => {}
  fastify.addHook('onReady', async () => {
    // no process before all plugins have loaded: a boot that fails must leave none behind
    tell((await servers.apply(config)).started)
    unwatch = watchConfig(file, () => {
      try {
        const read = readConfigFile(file)
        if (read === text) return
        text = read
        const changed = parseConfig(read, process.env)
        fastify.log.info({ file }, 'the configuration has changed')
        void servers.apply(changed)
      } catch (err) {
        fastify.log.error({ err, file }, 'the configuration cannot be used: the servers stay as they are')
      }
    })
  })
  // in preClose: Fastify waits for open streams before it runs onClose
  fastify.addHook('preClose', async () => {
    unwatch()
    await servers.close()
    await settleConnections(fastify, settings['close-grace'] ?? DEFAULT_CLOSE_GRACE)
  })
}

/** Where requests of Streamable HTTP and of HTTP+SSE name their session. */
const SESSION_HEADER = 'mcp-session-id'
const SESSION_QUERY = 'sessionId'

/** One route for all servers, now and later: routes cannot be taken away again. */
function addRoutes (fastify: FastifyInstance, servers: Servers): void {
  fastify.register(async (scope) => {
    if (!scope.hasRequestDecorator('mcpRequestId')) scope.decorateRequest('mcpRequestId', null)
    scope.setErrorHandler(rpcErrorHandler(0))
    // the server's own app logs the request, and without session ids; reads its body; and decides who may send it
    scope.all<{ Params: { server: string } }>('/:server/*', { logLevel: 'silent' }, async () => {})
    scope.addHook<{ Params: { server: string }, Querystring: Readonly<Record<string, unknown>> }>('onRequest', async (request, reply) => {
      const { server: name } = request.params
      const server = servers.get(name, request.headers[SESSION_HEADER] ?? request.query[SESSION_QUERY])
      if (server === undefined) throw mcpError('MCP_ERR_SERVER_NOT_FOUND', JSON.stringify(name))
      reply.hijack()
      server.route(request.raw, reply.raw)
    })
  })
}

/** Serves all servers of a configuration file, each below its name, and follows the changes of the file. */
export const mcpServers: FastifyPluginAsync<McpServersOptions> = fp(plugin, { name: 'mcp-proxy-config', fastify: '5.x' })
