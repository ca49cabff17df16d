import { Message } from '../message.js'
import { isObject } from '../object.js'
import { capabilityFor, type Capability } from './input-capabilities.js'
import type { JsonObject } from './client-capabilities.js'

/** Requests of a server that one call may have open: more are a mistake. */
const MAX_QUESTIONS = 100

/** A request of a server that its client has to answer in a retry. */
interface Question {
  readonly serverId: string
  readonly capability: Capability
  /** The input request, as JSON text. */
  readonly text: string
  /** The client has been told its key. */
  asked: boolean
}

/** What a server has asked during one call, in all of its rounds. */
export class Questions {
  /** By key, which is never used twice. */
  readonly #open = new Map<string, Question>()
  #count = 0

  get size (): number { return this.#open.size }

  /** Takes a request of the server; `undefined` when it is none that a client can be asked, or too many are open. */
  add (request: Message): Capability | undefined {
    const params = isObject(request.params) ? request.params : {}
    const capability = capabilityFor(request.method as string, params)
    if (capability === undefined || this.#open.size >= MAX_QUESTIONS) return undefined
    this.#open.set(keyFor(capability, ++this.#count), { serverId: request.rawId as string, capability, text: toInputRequest(request, capability), asked: false })
    return capability
  }

  /** The server does not want to know any more. */
  withdraw (serverId: string | undefined): void {
    for (const [key, question] of this.#open) if (question.serverId === serverId) this.#open.delete(key)
  }

  /** What capabilities it takes to answer all of them. */
  get capabilities (): Capability[] {
    return [...this.#open.values()].map(({ capability }) => capability)
  }

  /** All that are open, for the client to answer, by key. */
  ask (): Map<string, string> {
    for (const question of this.#open.values()) question.asked = true
    return new Map([...this.#open].map(([key, { text }]) => [key, text]))
  }

  /** The answers in a retry to what has been asked, for the server; what they answer is not open any more. Others are ignored. */
  answer (retry: Message): Message[] {
    const answers: Message[] = []
    for (const [key, { asked, serverId }] of this.#open) {
      const response = asked ? rawResponse(retry, key) : undefined
      if (response === undefined) continue
      this.#open.delete(key)
      answers.push(Message.result(serverId, response))
    }
    return answers
  }

  /** Whether something is open that the client has been asked. */
  get awaited (): boolean {
    return [...this.#open.values()].some(({ asked }) => asked)
  }
}

/** What a retry answers to one key (2026-07-28, "Multi Round-Trip Requests"), `undefined` unless it is an object. */
export function responseTo (retry: Message, key: string): JsonObject | undefined {
  const responses = retry.params?.['inputResponses']
  const response = isObject(responses) && Object.hasOwn(responses, key) ? responses[key] : undefined
  return isObject(response) ? response : undefined
}

function rawResponse (retry: Message, key: string): string | undefined {
  return responseTo(retry, key) === undefined ? undefined : retry.raw(['params', 'inputResponses', key])
}

/** Readable, since people see keys in logs. */
export function keyFor ([name]: Capability, number: number): string {
  return `${name}-${number}`
}

function toInputRequest (request: Message, [, feature]: Capability): string {
  // the modern revision has no id for what happens at a URL
  const bare = feature === 'url' ? request.edit(['params'], { elicitationId: undefined }) : request
  return `{"method":${JSON.stringify(request.method)},"params":${isObject(bare.params) ? bare.raw(['params']) : '{}'}}`
}

/** The answer that makes a client come back with answers and the state; `asked` and `requestState` as JSON text and text. */
export function toInputRequired (rawId: string, asked: ReadonlyMap<string, string>, requestState: string): Message {
  const inputRequests = [...asked].map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(',')
  return Message.result(rawId, `{"resultType":"input_required","inputRequests":{${inputRequests}},"requestState":${JSON.stringify(requestState)}}`)
}
