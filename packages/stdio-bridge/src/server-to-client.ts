import { CANCELLED_ID, Message, METHOD_NOT_FOUND, PROGRESS_TOKEN, admitsLevel, guessEnvelope, idKey, mcpError, toRpcError } from '@mcp-proxy/protocol'
import type { Hub } from './hub.js'
import type { Peer } from './peer.js'

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
  if (hub.own.settle(message)) return
  const call = hub.calls.byId(message.rawId)
  if (call === undefined) {
    hub.log.debug({ id: message.rawId }, 'dropped an answer to no open call')
    return
  }
  hub.calls.close(call)
  hub.onworked()
  if (message.failed) call.onfailure?.()
  hub.deliver(call.peer, message.rewrite(call.rawId))
}

function callback (hub: Hub, message: Message): void {
  const childId = message.rawId as string
  const [peer] = hub.peers
  if (hub.exclusive && peer !== undefined) {
    hub.deliver(peer, message.rewrite(peer.openCallback(childId)), { relatedRequestId: peer.onlyCall })
  } else if (message.method === 'ping') {
    hub.send(Message.result(childId, '{}'))
  } else {
    const error = mcpError('MCP_ERR_CALLBACK', message.method as string)
    hub.log.warn({ method: message.method }, error.message)
    hub.send(Message.error(childId, { code: METHOD_NOT_FOUND, message: error.message }))
  }
}

function notification (hub: Hub, message: Message): void {
  switch (message.method) {
    case 'notifications/progress':
      progress(hub, message)
      return
    case 'notifications/cancelled':
      cancelCallback(hub, message)
      return
    case 'notifications/message':
      // on a child that serves several users nobody can tell whose secrets a log line holds
      if (!hub.mixed) broadcast(hub, message, peer => admitsLevel(peer.logLevel, message.params?.['level']))
      return
    case 'notifications/resources/updated': {
      const uri = message.params?.['uri']
      const subscribers = typeof uri === 'string' ? hub.subscriptions.of(uri) : undefined
      broadcast(hub, message, peer => subscribers?.has(peer) === true)
      return
    }
    default:
      broadcast(hub, message, () => true)
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

/** To every client that `admits` lets through; the one client of an exclusive child gets everything. */
function broadcast (hub: Hub, message: Message, admits: (peer: Peer) => boolean): void {
  for (const peer of hub.peers) {
    if (hub.exclusive) hub.deliver(peer, message, { relatedRequestId: peer.onlyCall })
    else if (admits(peer)) hub.deliver(peer, message)
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
