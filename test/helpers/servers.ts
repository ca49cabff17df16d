import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { McpServer as McpServerV2 } from '@modelcontextprotocol/server'
import { z } from 'zod'

/** What a test wants of a server beside its tools. */
export interface Wishes {
  /** Called with the signal of each call of `wait`, which never ends. */
  readonly onwait?: (signal: AbortSignal) => void
}

const text = (value: string): { content: Array<{ type: 'text', text: string }> } => ({ content: [{ type: 'text', text: value }] })
const INFO = { name: 'greeter', version: '1.0.0' }
const DATA = { name: z.string() }

/** A server of SDK v1 as an app would write it. `who` is what `whoami` says. */
export function serverV1 (who: string = 'nobody', { onwait }: Wishes = {}): McpServerV1 {
  const server = new McpServerV1(INFO, { capabilities: { logging: {} } })
  server.registerTool('greet', { inputSchema: DATA }, ({ name }) => text(`Hello, ${name}!`))
  server.registerTool('whoami', {}, () => text(who))
  server.registerTool('session', {}, extra => text(`${extra.sessionId} ${String(extra.requestInfo?.headers['x-user-id'])}`))
  server.registerTool('circle', {}, () => {
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    return { ...text(''), _meta: circle }
  })
  server.registerTool('leave', {}, () => {
    void server.close()
    return text('left')
  })
  server.registerTool('wait', {}, extra => new Promise(() => onwait?.(extra.signal)))
  return server
}

/** The same with SDK v2. */
export function serverV2 (who: string = 'nobody', { onwait }: Wishes = {}): McpServerV2 {
  const server = new McpServerV2(INFO, { capabilities: { logging: {} } })
  server.registerTool('greet', { inputSchema: z.object(DATA) }, ({ name }) => text(`Hello, ${name}!`))
  server.registerTool('whoami', {}, () => text(who))
  server.registerTool('wait', {}, ctx => new Promise(() => onwait?.(ctx.mcpReq.signal)))
  return server
}
