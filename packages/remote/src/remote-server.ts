import { IntroducedServers, legacyOverModern, modernOverLegacy, type Connect, type Era } from '@mcp-proxy/protocol'
import { Http } from './http.js'
import { JoinedParty } from './joined-party.js'
import { LegacyRemote } from './legacy-remote.js'
import { ModernRemote } from './modern-remote.js'
import { RemoteKind } from './remote-kind.js'
import { ToolParamsByPrincipal } from './tool-params.js'
import { readRemoteOptions, type RemoteServerOptions } from './options.js'

/** An MCP server at a URL. */
export interface RemoteServer {
  /** Joins a party of either era to the server. Nothing is sent before the party has said something. */
  readonly connect: Connect
  /** Ends all sessions with the server and closes all parties. Harmless when called twice. */
  readonly close: () => Promise<void>
}

/**
 * Joins parties to the MCP server at a URL, whatever the two speak: Streamable HTTP of all revisions or HTTP+SSE, with a
 * handshake (2024-11-05 to 2025-11-25) or without (2026-07-28). What the server is, is found out with the first message.
 * Failures of HTTP reach the party as JSON-RPC errors whose `data.code` starts with `MCP_ERR_REMOTE_`; the next message
 * tries again.
 * @throws MCP_ERR_OPTION
 */
export function remoteServer (options: RemoteServerOptions): RemoteServer {
  const settings = readRemoteOptions(options)
  const { log, name, maxCalls, personal, reconnect, requestTimeout } = settings
  const http = new Http(settings)
  const kind = new RemoteKind(http, settings)
  const tools = new ToolParamsByPrincipal()
  const parties = new Set<JoinedParty>()

  const legacy: Connect = (transport, context) => new LegacyRemote(transport, context, { http, settings, kind })
  const modern: Connect = (transport, context) => new ModernRemote(transport, context, { http, settings, tools: tools.of(context.principal) })
  // a session that was opened with the headers of one party is of no use to another
  const servers = new IntroducedServers(legacy, { name, ...(requestTimeout > 0 && { startTimeout: requestTimeout }), ...(personal && { maxIdle: 0 }) })
  const modernBeforeLegacy = modernOverLegacy(servers, { log })
  const legacyBeforeModern = legacyOverModern(modern, { serverName: name, maxCalls, reopenDelay: Math.max(reconnect.delay, 1) })

  const route = (party: Era, server: Era): Connect => {
    if (party === server) return party === 'modern' ? modern : legacy
    return party === 'modern' ? modernBeforeLegacy : legacyBeforeModern
  }
  let closed = false
  return {
    connect: (transport, context) => {
      const party = new JoinedParty(transport, context, { kind, name, route, onclose: () => { parties.delete(party) } })
      parties.add(party)
      if (closed) void party.stop()
      return party
    },
    close: async () => {
      closed = true
      await Promise.all([...parties].map(party => party.stop()))
      await modernBeforeLegacy.close()
      await servers.close()
    },
  }
}
