import type { StreamableHTTPClientTransportOptions as OptionsV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { EventStore as EventStoreV1 } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { StreamableHTTPClientTransportOptions as OptionsV2 } from '@modelcontextprotocol/client'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { InMemoryEventStore, ServerType, startMultiStdioServer, startStdioServer, type MultiStdioConfig, type RemoteTransportOptions, type StartStdioServerOptions, type StdioFace } from 'mcp-proxy'

/** Fails to compile unless a value of one type can be given where another is wanted. */
function takes<Wanted> (_value: Wanted): true { return true }

// what clients of the seed write, by the types alone: nothing of this runs
export const shapes = {
  functions: (): unknown => [
    takes<(options: StartStdioServerOptions) => StdioFace>(startStdioServer),
    takes<(configs: readonly MultiStdioConfig[], options?: { merge?: boolean }) => Promise<StdioFace>>(startMultiStdioServer),
  ],
  transportOptions: (v1: Pick<OptionsV1, 'requestInit' | 'fetch' | 'reconnectionOptions'>, v2: Pick<OptionsV2, 'requestInit' | 'fetch' | 'reconnectionOptions'>): unknown => [takes<RemoteTransportOptions>(v1), takes<RemoteTransportOptions>(v2)],
  eventStore: (): true => takes<EventStoreV1>(new InMemoryEventStore()),
  // @ts-expect-error a server has to be somewhere
  withoutUrl: (): unknown => startStdioServer({ serverType: ServerType.SSE }),
  // @ts-expect-error there are two kinds
  otherKind: (): unknown => startStdioServer({ serverType: 'websocket', url: 'http://127.0.0.1/' }),
  // @ts-expect-error it is a list
  one: (): unknown => startMultiStdioServer({ url: 'http://127.0.0.1/' }),
}

t.test('kinds of servers are values and a type of one name', async (t) => {
  const kinds: ServerType[] = [ServerType.HTTPStream, ServerType.SSE]
  t.strictSame(kinds, ['HTTPStream', 'SSE'])
  t.throws(() => startStdioServer({ serverType: 'websocket' as ServerType, url: 'http://127.0.0.1/', stdin: new PassThrough(), stdout: new PassThrough() }), { code: 'MCP_ERR_OPTION', message: /serverType/ })
})
