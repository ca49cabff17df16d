import type { FastifyInstance } from 'fastify'
import { DEFAULT_CLOSE_GRACE } from '@mcp-proxy/endpoint'

/** Milliseconds beyond the grace until connections are cut. */
const MARGIN = 1000

/**
 * Cuts connections that are still open when an app has closed and the grace is over: those with half a request, say, for
 * the rest of which Node waits without any limit. To be called behind all endpoints, and only for an app that has nothing
 * else than them: what other routes answer slowly would be cut too.
 * @param grace milliseconds that open calls have @default 5000
 */
export function cutUnfinished (app: FastifyInstance, grace: number = DEFAULT_CLOSE_GRACE): void {
  let since = 0
  app.addHook('preClose', async () => { since = performance.now() })
  // in a scope of its own, the last one: hooks of the app itself come before those of the endpoints
  app.register(async (scope) => {
    scope.addHook('preClose', async () => {
      const left = Math.max(0, since + grace - performance.now())
      setTimeout(() => app.server.closeAllConnections(), left + MARGIN).unref()
    })
  })
}
