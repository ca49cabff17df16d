import { CANCELLED_ID, Message, REQUEST_PROGRESS_TOKEN, idKey, isLogLevel, mostVerbose, type Path } from '@mcp-proxy/protocol'
import { answerInitialize } from './handshake.js'
import { LISTEN } from './listens.js'
import type { Hub } from './hub.js'
import type { Peer } from './peer.js'

/** Passes a client's message to the server, under ids that are the hub's own; answers what must not reach a shared one. */
export function fromClient (hub: Hub, peer: Peer, message: Message): void {
  if (message.kind === 'request') request(hub, peer, message)
  else if (message.kind === 'notification') notification(hub, peer, message)
  else answerCallback(hub, peer, message)
}

function request (hub: Hub, peer: Peer, message: Message): void {
  hub.hurry(peer)
  if (hub.modern) {
    if (message.method !== LISTEN) forward(hub, peer, message)
    // what the proxy does not know of is the server's to keep
    else if (!hub.listens.open(peer, message)) forward(hub, peer, message, { timeout: Infinity })
    return
  }
  switch (message.method) {
    case 'initialize':
      if (hub.initializeAnswer === undefined) forward(hub, peer, message)
      else hub.deliver(peer, answerInitialize(hub.initializeAnswer, message))
      return
    case 'logging/setLevel':
      setLevel(hub, peer, message)
      return
    case 'resources/subscribe':
      subscribe(hub, peer, message)
      return
    case 'resources/unsubscribe':
      unsubscribe(hub, peer, message)
      return
    default:
      forward(hub, peer, message)
  }
}

interface Forwarding {
  readonly edits?: Array<readonly [Path, string]>
  readonly onfailure?: (() => void) | undefined
  readonly timeout?: number | undefined
}

function forward (hub: Hub, peer: Peer, message: Message, { edits = [], onfailure, timeout }: Forwarding = {}): void {
  const call = hub.calls.open(peer, message, { onfailure, timeout: message.method === 'initialize' ? hub.settings.startTimeout : timeout })
  const token = hub.calls.tokenOf(call)
  if (token !== undefined) edits.push([REQUEST_PROGRESS_TOKEN, token])
  hub.send(message.rewrite(call.id, edits))
}

function setLevel (hub: Hub, peer: Peer, message: Message): void {
  const level = message.params?.['level']
  if (!isLogLevel(level)) {
    forward(hub, peer, message)
    return
  }
  peer.logLevel = level
  // others may want to hear more than this client does; what it does not want is filtered on the way back
  const lowest = mostVerbose([...hub.peers].map(other => other.logLevel))
  forward(hub, peer, message, { edits: [[['params', 'level'], JSON.stringify(lowest)]] })
}

function subscribe (hub: Hub, peer: Peer, message: Message): void {
  const uri = message.params?.['uri']
  if (typeof uri !== 'string') {
    forward(hub, peer, message)
    return
  }
  // counted from now on: somebody else may unsubscribe before the answer is here
  const added = hub.subscriptions.add(uri, peer)
  forward(hub, peer, message, { onfailure: added ? () => { hub.subscriptions.remove(uri, peer) } : undefined })
}

function unsubscribe (hub: Hub, peer: Peer, message: Message): void {
  const uri = message.params?.['uri']
  if (typeof uri === 'string') {
    const shared = hub.subscriptions.isShared(uri, peer)
    hub.subscriptions.remove(uri, peer)
    if (shared) {
      hub.deliver(peer, Message.result(message.rawId as string, '{}'))
      return
    }
  }
  forward(hub, peer, message)
}

function notification (hub: Hub, peer: Peer, message: Message): void {
  switch (message.method) {
    case 'notifications/initialized':
      // the hub has said so itself when the handshake was its own
      if (hub.initializeAnswer === undefined) hub.send(message)
      return
    case 'notifications/cancelled': {
      const rawId = idKey(message.raw(CANCELLED_ID) ?? '')
      if (rawId !== undefined && hub.listens.close(peer, rawId)) return
      const call = rawId === undefined ? undefined : peer.calls.get(rawId)
      if (call === undefined) return
      hub.calls.close(call)
      hub.send(message.rewrite(undefined, [[CANCELLED_ID, call.id]]))
      return
    }
    case 'notifications/progress':
    case 'notifications/roots/list_changed':
      // about callbacks and capabilities, which a shared server was never told of
      if (hub.exclusive) hub.send(message)
      return
    default:
      hub.send(message)
  }
}

function answerCallback (hub: Hub, peer: Peer, message: Message): void {
  const clientId = message.rawId ?? ''
  const childId = peer.callbacks.get(clientId)
  if (childId === undefined) {
    hub.log.debug({ connection: peer.id }, 'dropped an answer that nobody asked for')
    return
  }
  peer.callbacks.delete(clientId)
  // the time that its client takes is not the call's
  if (peer.translated) for (const call of peer.calls.values()) hub.calls.restart(call)
  hub.send(message.rewrite(childId))
}
