import { Message, mcpError, type ConnectContext, type Connection, type LegacyServer, type LegacySource, type Need, type Transport } from '@mcp-proxy/protocol'
import { introducedKind, plainKind } from './lease-router.js'
import { Peer } from './peer.js'
import type { Mux } from './mux.js'
import type { BridgeSettings } from './options.js'
import type { Kind, Lease, WarmPool } from './warm-pool.js'

export interface LegacyServersOptions {
  readonly warm: WarmPool
  readonly maxChildren: number
  /** What a client's children have in common beside their kind, and how they are started. */
  readonly scope: (context: ConnectContext) => { readonly name: string, readonly settings: BridgeSettings }
  /** The child that a client shares; `undefined` where it shares none. */
  readonly shared: (context: ConnectContext) => Mux | Promise<Mux> | undefined
  /** Requests that may ask or log something, or that come from a client that can be asked, get a child of their own. */
  readonly leases: boolean
  /** A child stays for one that subscribes. */
  readonly keeps: boolean
}

/** Children that shake hands, for the requests of clients that do not. */
export class LegacyServers implements LegacySource {
  readonly #options: LegacyServersOptions

  constructor (options: LegacyServersOptions) {
    this.#options = options
  }

  open (need: Need, context: ConnectContext): LegacyServer | Promise<LegacyServer> {
    const { leases, keeps, shared } = this.#options
    // what a server offers may depend on what its client can be asked: the shared one has been told of nobody
    const mux = leases && (need.alone || need.introduction !== undefined) ? undefined : shared(context)
    if (mux === undefined) return need.stays && !keeps ? silentServer() : this.#lease(need, context)
    return mux instanceof Promise ? mux.then(ready => sharedServer(ready, context)) : sharedServer(mux, context)
  }

  async #lease (need: Need, context: ConnectContext): Promise<LegacyServer> {
    const { maxChildren, scope, warm } = this.#options
    const { name, settings } = scope(context)
    const kind: Kind = need.introduction === undefined ? plainKind(settings, name) : introducedKind(settings, need.introduction, name)
    const lease = await warm.lease(kind, context.principal, () => need.signal())
    if (lease === undefined) throw Object.assign(mcpError('MCP_ERR_CHILD_LIMIT', maxChildren), { retryAfter: 1 })
    return leasedServer(lease, context)
  }
}

function sharedServer (mux: Mux, context: ConnectContext): LegacyServer {
  return {
    initializeAnswer: mux.initializeAnswer as Message,
    alone: false,
    connect: transport => mux.attach(transport, context, new Peer(transport, context.id, undefined, true)),
  }
}

/** What a child offers that is gone when its call is: nothing that could be subscribed to. */
function silentServer (): LegacyServer {
  return {
    initializeAnswer: Message.result('0', '{"capabilities":{}}'),
    alone: false,
    connect: () => ({ close: async () => {} }),
  }
}

function leasedServer ({ mux, release }: Lease, context: ConnectContext): LegacyServer {
  return {
    initializeAnswer: mux.initializeAnswer as Message,
    alone: true,
    connect: transport => leasedConnection(transport, context, mux, release),
  }
}

function leasedConnection (party: Transport, { id, principal, log }: ConnectContext, mux: Mux, release: Lease['release']): Connection {
  /** Requests that the child works on, by their id. */
  const open = new Set<string>()
  let failed = false
  /** It knows something of its client now, which the next must not meet. */
  let asked = false
  const transport: Transport = {
    send: (message, options) => {
      if (message.kind === 'response' && message.rawId !== undefined) open.delete(message.rawId)
      failed ||= options?.local === true
      asked ||= message.kind === 'request'
      return party.send(message, options)
    },
    close: () => party.close(),
  }
  const peer = new Peer(transport, id, undefined, true)
  mux.attach(transport, { id, principal, log, request: undefined }, peer)
  const { onmessage } = transport
  party.onmessage = (message) => {
    if (message.kind === 'request') open.add(message.rawId as string)
    onmessage?.(message)
  }
  let closed = false
  return {
    close: async () => {
      if (closed) return
      closed = true
      party.onmessage = undefined
      // one that still works for this client, or waits for it, is of no use to the next
      const clean = open.size === 0 && peer.callbacks.size === 0 && !failed
      mux.release(peer)
      release(!clean ? 'dirty' : asked ? 'spent' : 'answered')
    }
  }
}
