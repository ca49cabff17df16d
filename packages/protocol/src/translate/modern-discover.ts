import { mcpError } from '../errors.js'
import { BorrowedServer } from './borrowed-server.js'
import { toDiscovery } from './to-modern.js'
import type { ModernParty } from './modern-party.js'

/** Answers `server/discover` from the handshake of a server. */
export function discover (party: ModernParty, rawId: string): void {
  const server = new BorrowedServer({
    serve: ({ initializeAnswer }) => {
      server.giveBack()
      void party.answer(rawId, toDiscovery(rawId, initializeAnswer))
    },
    receive: () => {},
    fail: (error = mcpError('MCP_ERR_STOPPED')) => {
      server.giveBack()
      party.refuse(rawId, error)
    },
  })
  party.hold(rawId, { cancel: () => server.giveBack(), stop: () => { server.giveBack(); party.refuse(rawId, mcpError('MCP_ERR_STOPPED')) } })
  server.borrow(party.desk.source, { method: 'server/discover', introduction: undefined, alone: false, stays: false }, party.context)
}
