import { fileURLToPath } from 'node:url'
import type { JsonRpcMessage } from '@mcp-proxy/protocol'
import type { Client } from './bridge.js'

/** The server without handshake, as argv. */
export const MODERN_CHILD: readonly string[] = [process.execPath, fileURLToPath(new URL('../../../../test/fixtures/modern-child.mjs', import.meta.url))]

const META = 'io.modelcontextprotocol/'

/** What a client of 2026-07-28 sends with each request. */
export function envelope (capabilities: object = {}, more: object = {}): Record<string, unknown> {
  return {
    [`${META}protocolVersion`]: '2026-07-28',
    [`${META}clientInfo`]: { name: 'test', version: '1' },
    [`${META}clientCapabilities`]: capabilities,
    ...more,
  }
}

/** The same client, speaking 2026-07-28. */
export interface ModernClient {
  readonly client: Client
  /** Asks, and does not wait. */
  say: (id: string | number, method: string, params?: object, meta?: object) => void
  request: (id: string | number, method: string, params?: object, meta?: object) => Promise<JsonRpcMessage>
  /** Calls a tool; the text it answers. */
  tool: (id: string | number, name: string, args?: object, meta?: object) => Promise<string>
  /** Subscribes, and waits for the acknowledgement. */
  listen: (id: string | number, notifications: object) => Promise<Record<string, unknown> | undefined>
  cancel: (id: string | number) => void
  /** What came for a subscription. */
  heard: (id: string | number) => JsonRpcMessage[]
}

export function asModern (client: Client, capabilities: object = {}): ModernClient {
  const say: ModernClient['say'] = (id, method, params = {}, meta = {}) => {
    client.say({ jsonrpc: '2.0', id, method, params: { ...params, _meta: envelope(capabilities, meta) } })
  }
  const heard: ModernClient['heard'] = id => client.items.map(({ json }) => json).filter(({ params }) => subscriptionOf(params) === id)
  return {
    client,
    say,
    heard,
    request: async (id, method, params, meta) => {
      say(id, method, params, meta)
      return await client.answer(id)
    },
    tool: async (id, name, args = {}, meta = {}) => {
      say(id, 'tools/call', { name, arguments: args }, meta)
      const answer = await client.answer(id)
      const [content] = answer.result?.['content'] as Array<{ text: string }> ?? []
      if (content === undefined) throw new Error(`${name}: ${JSON.stringify(answer)}`)
      return content.text
    },
    listen: async (id, notifications) => {
      say(id, 'subscriptions/listen', { notifications })
      const { json } = await client.first(({ json }) => json.method === 'notifications/subscriptions/acknowledged' && subscriptionOf(json.params) === id)
      return json.params?.['notifications'] as Record<string, unknown>
    },
    cancel: id => client.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } }),
  }
}

function subscriptionOf (params: Record<string, unknown> | undefined): unknown {
  return (params?.['_meta'] as Record<string, unknown> | undefined)?.[`${META}subscriptionId`]
}
