import { METHOD_NOT_FOUND, admitsLevel, isLogLevel, isObject, mostVerbose, type Id } from '@mcp-proxy/protocol'
import { ProgressTap } from './progress-tap.js'
import { RpcError, ask, callOf, tell, toRpc, type SdkMessage, type SdkPeer } from './sdk-peer.js'

/** One server in front of a client: what it stands for is one downstream connection. */
export interface Downstream {
  readonly server: SdkPeer
  /** Milliseconds that a request may take. */
  readonly timeout: number
  /** Requests that are being passed on, by their id. */
  readonly open: Set<Id>
  /** The least severe level that was asked for. */
  logLevel: string | undefined
  /** It has been connected. */
  used: boolean
  /** Resources that are subscribed to. */
  readonly uris: Set<string>
}

const clients = new WeakMap<SdkPeer, ProxiedClient>()

/** The one that a client is proxied by: its handlers are set once, however many servers are in front of it. */
export function proxiedClient (client: SdkPeer): ProxiedClient {
  const known = clients.get(client) ?? new ProxiedClient(client)
  clients.set(client, known)
  return known
}

/**
 * A client, and the servers whose requests go through it. What the upstream server says on its own belongs to the only
 * server in front, where there is one. Where there are several, it is as with a child that several sessions share: changed
 * lists are for all, updates for those who have subscribed, and what might be another user's is for nobody.
 */
export class ProxiedClient {
  readonly #client: SdkPeer
  readonly #servers = new Set<Downstream>()
  readonly #progress: ProgressTap

  constructor (client: SdkPeer) {
    this.#client = client
    this.#progress = new ProgressTap(client)
    client.fallbackRequestHandler = (request: SdkMessage, extra: unknown) => this.#asked(request, extra)
    client.fallbackNotificationHandler = async (notification: SdkMessage) => this.#told(notification)
  }

  add (downstream: Downstream): void {
    // their handler of `onclose` may have been replaced
    for (const other of this.#servers) if (other.used && other.server.transport === undefined) this.delete(other)
    this.#servers.add(downstream)
  }

  /** A connection has ended: what only it was subscribed to is not wanted any more. */
  delete (downstream: Downstream): void {
    this.#servers.delete(downstream)
    for (const uri of downstream.uris) {
      if (this.#subscribed(uri)) continue
      ask(this.#client, { method: 'resources/unsubscribe', params: { uri } }, { timeout: downstream.timeout }).catch(() => {})
    }
    downstream.uris.clear()
  }

  /** Passes on what a client in front asks. */
  async request (from: Downstream, request: SdkMessage, extra: unknown): Promise<Record<string, unknown>> {
    const { signal, id } = callOf(extra)
    from.used = true
    if (id !== undefined) from.open.add(id)
    const token = this.#listen(from, request, id)
    try {
      const uri: unknown = request.params?.['uri']
      if (request.method === 'resources/unsubscribe' && typeof uri === 'string') {
        from.uris.delete(uri)
        if (this.#subscribed(uri)) return {}
      }
      const result = await ask(this.#client, withToken(this.#withLevel(from, request), token), { signal, timeout: from.timeout })
      if (request.method === 'resources/subscribe' && typeof uri === 'string') from.uris.add(uri)
      return result
    } catch (error) {
      throw toRpc(error)
    } finally {
      if (id !== undefined) from.open.delete(id)
      if (token !== undefined) this.#progress.forget(token)
    }
  }

  /** Progress goes back under the token of whoever has asked for it. */
  #listen ({ server }: Downstream, request: SdkMessage, id: Id | undefined): string | undefined {
    const { progressToken } = metaOf(request)
    if (progressToken === undefined) return undefined
    return this.#progress.listen((progress) => { void tell(server, { method: 'notifications/progress', params: { ...progress, progressToken } }, id) })
  }

  /** Passes on what a client in front says. */
  async notify (notification: SdkMessage): Promise<void> {
    // what it is about differs from one client to the next
    if (notification.method === 'notifications/roots/list_changed' && this.#connected().length > 1) return
    await tell(this.#client, notification)
  }

  /** Of several, the upstream server gets the level that shows most; each hears what it wants. */
  #withLevel (from: Downstream, request: SdkMessage): SdkMessage {
    const level: unknown = request.params?.['level']
    if (request.method !== 'logging/setLevel' || !isLogLevel(level)) return request
    from.logLevel = level
    return { ...request, params: { ...request.params, level: mostVerbose([...this.#servers].map(({ logLevel }) => logLevel)) } }
  }

  async #asked (request: SdkMessage, extra: unknown): Promise<Record<string, unknown>> {
    const [only, ...others] = this.#connected()
    if (only === undefined || others.length > 0) throw new RpcError(METHOD_NOT_FOUND, `${request.method} cannot be answered: ${only === undefined ? 'nobody is' : 'several clients are'} connected`)
    try {
      return await ask(only.server, request, { signal: callOf(extra).signal, timeout: only.timeout, relatedRequestId: onlyCall(only) })
    } catch (error) {
      throw toRpc(error)
    }
  }

  async #told (notification: SdkMessage): Promise<void> {
    const connected = this.#connected()
    const shared = connected.length > 1
    for (const downstream of connected) {
      if (this.#admits(downstream, notification, shared)) await tell(downstream.server, notification, shared ? undefined : onlyCall(downstream))
    }
  }

  #admits ({ logLevel, uris }: Downstream, { method, params }: SdkMessage, shared: boolean): boolean {
    // on a server that serves several nobody can tell whose secrets a log line holds
    if (method === 'notifications/message') return !shared && admitsLevel(logLevel, params?.['level'])
    if (method === 'notifications/resources/updated' && shared) return uris.has(String(params?.['uri']))
    return true
  }

  /** A server that has not been connected yet cannot be told anything. */
  #connected (): Downstream[] {
    return [...this.#servers].filter(({ server }) => server.transport !== undefined)
  }

  #subscribed (uri: string): boolean {
    return [...this.#servers].some(({ uris }) => uris.has(uri))
  }
}

/** The call that something is about, when there is only one that it can be about. */
function onlyCall ({ open }: Downstream): Id | undefined {
  const [first, second] = open
  return second === undefined ? first : undefined
}

/** Asks for progress under a token that no other request has. */
function withToken (request: SdkMessage, progressToken: string | undefined): SdkMessage {
  return progressToken === undefined ? request : { ...request, params: { ...request.params, _meta: { ...metaOf(request), progressToken } } }
}

function metaOf ({ params }: SdkMessage): Readonly<Record<string, unknown>> {
  return isObject(params?.['_meta']) ? params['_meta'] : {}
}
