import { CANCELLED_ID, Message, METHOD_NOT_FOUND, PROGRESS_TOKEN, SERVED_REVISIONS, SUBSCRIPTION_ID_KEY, admitsLevel, guessEnvelope, idKey, mcpError, toRpcError, type Path } from '@mcp-proxy/protocol'
import { DISCOVER } from './handshake.js'
import { LISTEN } from './listens.js'
import { CLIENT_HAS_LEFT } from './peer.js'
import type { Call } from './calls.js'
import type { Hub } from './hub.js'
import type { Peer } from './peer.js'

/** What a server asks in the course of a call, and not by itself. */
const ASKS_A_USER: ReadonlySet<string> = new Set(['elicitation/create', 'sampling/createMessage'])

/** Messages of a server that wait for its client; more at its start are a mistake. */
const MAX_EARLY = 20

/** Where a notification names the subscription that it is for (2026-07-28, "Subscriptions"). */
const SUBSCRIPTION_ID: Path = ['params', '_meta', SUBSCRIPTION_ID_KEY]

/** Passes a server's message to the client it belongs to. Never a guess: what can belong to several is refused or dropped. */
export function fromServer (hub: Hub, message: Message): void {
  if (message.kind === 'response') answer(hub, message)
  else if (message.kind === 'request') callback(hub, message)
  else notification(hub, message)
}

/** A message over the limit was dropped: fails the call that it answers, and nothing else. */
export function fromServerOversize (hub: Hub, head: Buffer, tail: Buffer): void {
  const limit = hub.settings.maxMessageBytes
  const { rawId, asks } = guessEnvelope(head, tail)
  const call = asks ? undefined : hub.calls.byId(rawId)
  hub.log.warn({ limit, method: call?.method }, 'dropped a message of the server that is over the limit')
  // a question that nobody will see: the server need not wait for its answer
  if (asks && rawId !== undefined) hub.send(Message.error(rawId, toRpcError(mcpError('MCP_ERR_CHILD_MESSAGE_SIZE', limit))))
  if (call === undefined) return
  hub.calls.close(call)
  hub.fail(call, mcpError('MCP_ERR_CHILD_MESSAGE_SIZE', limit))
}

function answer (hub: Hub, message: Message): void {
  if (hub.listens.settle(message) || hub.own.settle(message)) return
  const call = hub.calls.byId(message.rawId)
  if (call === undefined) {
    hub.log.debug({ id: message.rawId }, 'dropped an answer to no open call')
    return
  }
  hub.calls.close(call)
  hub.onworked()
  if (message.failed) call.onfailure?.()
  if (call.method === 'initialize') {
    // the client has shaken hands with it, or has not
    if (message.failed) hub.era.giveUp()
    else hub.era.learn('legacy')
  }
  hub.deliver(call.peer, message.rewrite(call.rawId, editsOf(call)))
}

/** What an answer says that is about this hop, besides its id. */
function editsOf ({ method, rawId }: Call): Array<readonly [Path, string]> {
  if (method === LISTEN) return [[['result', '_meta', SUBSCRIPTION_ID_KEY], rawId]]
  // what clients may speak is the proxy's to say: it translates
  if (method === DISCOVER) return [[['result', 'supportedVersions'], JSON.stringify(SERVED_REVISIONS)]]
  return []
}

function callback (hub: Hub, message: Message): void {
  const childId = message.rawId as string
  const [peer] = hub.peers
  if (hub.modern) {
    // it asks by an answer that says what is missing, or not at all (2026-07-28, "stdio", Receiving Messages)
    hub.log.warn({ method: message.method }, 'refused a request of a server of a revision without them')
    hub.send(Message.error(childId, { code: METHOD_NOT_FOUND, message: `a server of this revision does not ask by ${message.method}` }))
  } else if (hub.exclusive && peer !== undefined) {
    hub.deliver(peer, message.rewrite(peer.openCallback(childId)), { relatedRequestId: peer.onlyCall })
  } else if (hub.exclusive && !hub.visited && message.method !== 'ping' && hub.early.length < MAX_EARLY) {
    hub.early.push(message)
  } else if (message.method === 'ping') {
    hub.send(Message.result(childId, '{}'))
  } else if (hub.exclusive && hub.visited) {
    hub.send(Message.error(childId, CLIENT_HAS_LEFT))
  } else if (hub.calls.only?.peer.translated === true && ASKS_A_USER.has(message.method ?? '')) {
    // while one call is open, it is about that call; the translator tells its client what it would have to declare
    const { peer, rawId } = hub.calls.only
    hub.deliver(peer, message.rewrite(peer.openCallback(childId)), { relatedRequestId: rawId })
  } else {
    const error = mcpError('MCP_ERR_CALLBACK', message.method as string)
    hub.log.warn({ method: message.method }, error.message)
    hub.send(Message.error(childId, { code: METHOD_NOT_FOUND, message: error.message }))
  }
}

function notification (hub: Hub, message: Message): void {
  if (hub.spare && !hub.visited) {
    if (hub.early.length < MAX_EARLY) hub.early.push(message)
    return
  }
  switch (message.method) {
    case 'notifications/progress':
      progress(hub, message)
      return
    case 'notifications/cancelled':
      if (!hub.listens.end(message)) cancelCallback(hub, message)
      return
    case 'notifications/message':
      if (hub.modern) {
        modernLog(hub, message)
        return
      }
      // on a child that serves several users nobody can tell whose secrets a log line holds
      // a leased one serves one at a time
      if (hub.exclusive || !hub.mixed) broadcast(hub, message, peer => admitsLevel(peer.logLevel, message.params?.['level']), hub.calls.size === 1)
      return
    case 'notifications/resources/updated': {
      if (hub.modern) {
        forSubscriber(hub, message)
        return
      }
      const uri = message.params?.['uri']
      const subscribers = typeof uri === 'string' ? hub.subscriptions.of(uri) : undefined
      broadcast(hub, message, peer => subscribers?.has(peer) === true)
      return
    }
    default:
      if (hub.modern) forSubscriber(hub, message)
      else broadcast(hub, message, () => true)
  }
}

/** To whom a server without handshake says something: whoever has subscribed, or the one that it works for. */
function forSubscriber (hub: Hub, message: Message): void {
  const rawId = message.raw(SUBSCRIPTION_ID)
  if (hub.listens.deliver(message, rawId)) return
  const call = rawId === undefined ? undefined : hub.calls.byId(idKey(rawId))
  if (call !== undefined) hub.deliver(call.peer, message.rewrite(undefined, [[SUBSCRIPTION_ID, call.rawId]]), { relatedRequestId: call.rawId })
  else if (rawId === undefined && hub.exclusive) broadcast(hub, message, () => true)
  else hub.log.debug({ method: message.method }, 'dropped a message for no open subscription')
}

/** A log message does not say which call it is about: it goes to the one that asks for any (2026-07-28, "Logging"). */
function modernLog (hub: Hub, message: Message): void {
  const calls = [...hub.calls.logging]
  const peers = new Set(calls.map(call => call.peer))
  if (peers.size > 1 && hub.mixed) {
    hub.log.debug('dropped a log message that may be about the call of another user')
    return
  }
  for (const peer of peers) {
    const own = calls.filter(call => call.peer === peer)
    hub.deliver(peer, message, { relatedRequestId: own.length === 1 ? own[0]?.rawId : undefined })
  }
}

function progress (hub: Hub, message: Message): void {
  const call = hub.calls.byToken(message.raw(PROGRESS_TOKEN))
  if (call !== undefined) {
    hub.calls.renew(call)
    hub.deliver(call.peer, message.rewrite(undefined, [[PROGRESS_TOKEN, call.progressToken as string]]), { relatedRequestId: call.rawId })
  } else if (hub.exclusive) {
    broadcast(hub, message, () => true)
  } else {
    hub.log.debug('dropped progress of no open call')
  }
}

/**
 * To every client that `admits` lets through; the one client of an exclusive child gets everything.
 * @param related it is about the only call that there is
 */
function broadcast (hub: Hub, message: Message, admits: (peer: Peer) => boolean, related: boolean = false): void {
  for (const peer of [...hub.peers]) {
    if (hub.exclusive) hub.deliver(peer, message, { relatedRequestId: peer.onlyCall })
    else if (admits(peer)) hub.deliver(peer, message, related ? { relatedRequestId: peer.onlyCall } : undefined)
  }
}

/** The server no longer wants the answer to a request of its own. */
function cancelCallback (hub: Hub, message: Message): void {
  const childId = idKey(message.raw(CANCELLED_ID) ?? '')
  for (const peer of hub.peers) {
    for (const [clientId, open] of peer.callbacks) {
      if (open !== childId) continue
      peer.callbacks.delete(clientId)
      hub.deliver(peer, message.rewrite(undefined, [[CANCELLED_ID, clientId]]), { relatedRequestId: peer.onlyCall })
      return
    }
  }
}
