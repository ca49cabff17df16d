import { mcpError } from '../errors.js'
import { admitsLevel, isLogLevel } from '../log-levels.js'
import { PROGRESS_TOKEN, REQUEST_PROGRESS_TOKEN, type Message } from '../message.js'
import { LOG_LEVEL_KEY, metaOf } from '../request-meta.js'
import { capabilitiesOf, type JsonObject } from './client-capabilities.js'
import type { ModernParty } from './modern-party.js'

/** The request that waits for the answer of a call: its first, or a retry. What it says of itself may differ from one to the next. */
export class Asker {
  readonly party: ModernParty
  readonly rawId: string
  readonly meta: JsonObject
  readonly capabilities: JsonObject
  /** The least severe log level it wants; no logs without one (2026-07-28, "Logging"). */
  readonly logLevel: string | undefined
  /** Under which it wants progress, as JSON text; no progress without one. */
  readonly progressToken: string | undefined

  /** @throws MCP_ERR_PARAMS */
  constructor (party: ModernParty, request: Message) {
    const meta = metaOf(request)
    const level = meta[LOG_LEVEL_KEY]
    if (level !== undefined && !isLogLevel(level)) throw mcpError('MCP_ERR_PARAMS', `${LOG_LEVEL_KEY} is no log level`)
    this.party = party
    this.rawId = request.rawId as string
    this.meta = meta
    this.capabilities = capabilitiesOf(meta)
    this.logLevel = level
    this.progressToken = Object.hasOwn(meta, 'progressToken') ? request.raw(REQUEST_PROGRESS_TOKEN) : undefined
  }

  /** Tells the client what its server says about the call, where it wants to know. @param token the call's progress token on the server */
  tell (message: Message, token: string | undefined): void | Promise<void> {
    if (message.method === 'notifications/message') {
      if (this.logLevel === undefined || !admitsLevel(this.logLevel, message.params?.['level'])) return
    } else if (message.method === 'notifications/progress') {
      if (this.progressToken === undefined) return
      if (this.progressToken !== token) message = message.rewrite(undefined, [[PROGRESS_TOKEN, this.progressToken]])
    }
    return this.party.say(this.rawId, message)
  }
}
