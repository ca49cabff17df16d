import { isObject } from '../object.js'
import { SERVER_INFO_KEY } from '../request-meta.js'
import { membersText, type Members } from '../members.js'
import type { Message } from '../message.js'

/** What a server's handshake says that its later answers are dressed with; all texts are JSON. */
export interface ServerProfile {
  readonly capabilities: Readonly<Record<string, unknown>>
  /** Its name and version; `undefined` when it has not said them. */
  readonly serverInfo: string | undefined
  /** What a result gains. */
  readonly complete: Addition
  /** What a result gains that clients may keep (2026-07-28, "Caching"). */
  readonly cacheable: Addition
}

/** Members that many results gain, made ready once. */
export interface Addition {
  readonly members: Members
  /** As they stand in JSON. */
  readonly text: string
  /** What to look for to see that a result may have one of them already. */
  readonly names: readonly Buffer[]
}

// one handshake serves many calls: read once
const profiles = new WeakMap<Message, ServerProfile>()

/** @param initializeAnswer what a server has answered to `initialize` */
export function profileOf (initializeAnswer: Message): ServerProfile {
  const known = profiles.get(initializeAnswer)
  if (known !== undefined) return known
  const capabilities = initializeAnswer.result?.['capabilities']
  const serverInfo = initializeAnswer.raw(['result', 'serverInfo'])
  const complete: Members = { resultType: '"complete"', _meta: serverInfo === undefined ? undefined : `{${JSON.stringify(SERVER_INFO_KEY)}:${serverInfo}}` }
  // nobody can tell how long a server's answers hold that does not say it, nor for whom
  const cacheable = { ...complete, ttlMs: '0', cacheScope: '"private"' }
  const profile: ServerProfile = { capabilities: isObject(capabilities) ? capabilities : {}, serverInfo, complete: addition(complete), cacheable: addition(cacheable) }
  profiles.set(initializeAnswer, profile)
  return profile
}

function addition (members: Members): Addition {
  return { members, text: membersText(members), names: Object.keys(members).map(name => Buffer.from(`"${name}"`)) }
}

/** Whether the server declares a capability, or a feature of it, such as `offers(profile, 'tools', 'listChanged')`. */
export function offers ({ capabilities }: ServerProfile, name: string, feature?: string): boolean {
  const capability = Object.hasOwn(capabilities, name) ? capabilities[name] : undefined
  return isObject(capability) && (feature === undefined || (Object.hasOwn(capability, feature) && capability[feature] === true))
}
