import { isObject } from '../object.js'
import { editText } from './raw-json.js'
import type { Message } from '../message.js'
import type { InputRequest } from './input-required.js'
import type { LegacyParty } from './legacy-party.js'
import type { VisitedUrls } from './visited-urls.js'

export interface InputRoundOptions {
  readonly party: LegacyParty
  /** JSON text of the client's id of the call that this is about. */
  readonly callId: string
  /** Milliseconds that the client may take; `0` is for ever. */
  readonly timeout: number
  readonly elicitations: VisitedUrls
  /** All is answered; `responses` is the JSON text of an `InputResponses`. */
  readonly ondone: (responses: string) => void
  /** It will not be answered. */
  readonly onfail: (reason: string) => void
}

/** What a server asks for at once, as requests to the client: all are sent together, and all answers are waited for. */
export class InputRound {
  readonly #options: InputRoundOptions
  readonly #requests: readonly InputRequest[]
  /** Results by key, as JSON text. */
  readonly #results = new Map<string, string>()
  readonly #asked = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #over = false

  constructor (requests: readonly InputRequest[], options: InputRoundOptions) {
    this.#requests = requests
    this.#options = options
  }

  start (): void {
    const { party, callId, timeout } = this.#options
    if (timeout > 0) this.#timer = setTimeout(() => this.#fail(`no answer within ${timeout} ms`), timeout).unref()
    for (const request of this.#requests) {
      // a client in the same process may have answered, and failed, before the last one is sent
      if (this.#over) return
      const id = party.expect((answer) => {
        this.#asked.delete(id)
        this.#take(request, answer)
      })
      this.#asked.add(id)
      party.ask(id, request.method, this.#paramsOf(request), callId)
    }
  }

  /** Nobody needs the answers any more. */
  withdraw (reason: string): void {
    this.stop()
    for (const id of this.#asked) this.#options.party.withdraw(id, this.#options.callId, reason)
    this.#asked.clear()
  }

  stop (): void {
    this.#over = true
    clearTimeout(this.#timer)
  }

  #paramsOf ({ params, url }: InputRequest): string {
    if (url === undefined) return params
    return editText(params, [], { elicitationId: JSON.stringify(this.#options.elicitations.open(url)) })
  }

  #take ({ key, url }: InputRequest, answer: Message): void {
    if (this.#over) return
    const { error, result } = answer.toJSON()
    if (error !== undefined) {
      this.#fail(isObject(error) && typeof error.message === 'string' ? error.message : 'an error')
      return
    }
    if (url !== undefined && isObject(result) && result['action'] === 'accept') this.#options.elicitations.accept(url)
    this.#results.set(key, answer.raw(['result']) as string)
    if (this.#results.size < this.#requests.length) return
    this.stop()
    this.#options.ondone(`{${this.#requests.map(({ key }) => `${JSON.stringify(key)}:${this.#results.get(key) as string}`).join(',')}}`)
  }

  #fail (reason: string): void {
    this.withdraw('another answer is missing')
    this.#options.onfail(reason)
  }
}
