import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { mcpProxy, type McpProxyOptions } from 'mcp-proxy'

/** The server with the odd tools, as argv. */
export const CHILD: readonly string[] = [process.execPath, fixture('child.mjs')]

/**
 * The command in an empty environment: tap loads itself into each Node that a test starts, which takes a third of a second
 * of processor time. For tests that start many.
 */
export function lean (command: readonly string[]): readonly string[] {
  return process.platform === 'win32' ? command : ['env', '-i', ...command]
}

/** Path of a file in `test/fixtures`. */
export function fixture (name: string): string {
  return fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url))
}

/** What tap offers for cleaning up. */
export interface Teardown {
  teardown: (fn: () => unknown) => void
}

export interface ProxyOptions extends Omit<McpProxyOptions, 'command'> {
  command?: McpProxyOptions['command']
  server?: FastifyServerOptions
}

/** A whole proxy in front of the test child, closed with the test. */
export async function buildProxy (t: Teardown, { server, ...options }: ProxyOptions = {}): Promise<FastifyInstance> {
  const app = Fastify({ logger: false, ...server })
  t.teardown(() => app.close())
  await app.register(mcpProxy, { command: CHILD, ...options })
  await app.ready()
  return app
}

/** The same, listening on a free port of the loopback address. */
export async function startProxy (t: Teardown, options: ProxyOptions = {}): Promise<{ app: FastifyInstance, url: string }> {
  const app = await buildProxy(t, options)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, url }
}

/** The children that run behind a proxy. */
export function childrenOf (app: FastifyInstance): ReturnType<FastifyInstance['mcpBridge']['status']>['children'] {
  return app.mcpBridge.status().children
}
