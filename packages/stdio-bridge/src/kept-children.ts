import { createHash } from 'node:crypto'
import { ParkedCalls, asksForInput, type Message, type Parkable, type ParkedCallsOptions } from '@mcp-proxy/protocol'
import type { Kind, Lease } from './warm-pool.js'

/** For whom a child is kept, and of what kind it is. */
interface Owner {
  readonly principal: string | undefined
  readonly kind: Kind
}

interface KeptChild extends Parkable {
  readonly lease: Lease
}

/**
 * Children of servers without handshake that have asked for input, kept for the retries. A server may seal its state with
 * a key that only its own process has: the retry has to come to the process that has asked (2026-07-28, "Multi Round-Trip
 * Requests").
 */
export class KeptChildren {
  readonly #kept: ParkedCalls<KeptChild>

  constructor (options: ParkedCallsOptions) {
    this.#kept = new ParkedCalls(options)
  }

  /** Keeps a child for the retry that its answer asks for; `false` when it asks for none. */
  keep (owner: Owner, answer: Message, lease: Lease): boolean {
    if (!asksForInput(answer)) return false
    const state = answer.result?.['requestState']
    if (typeof state !== 'string') return false
    const name = nameOf(owner, state)
    // two of the same state: either can go on from it
    this.#kept.take(name)?.abandon()
    this.#kept.add({ principal: owner.principal, busy: true, lease, abandon: () => lease.release('answered') }, name)
    return true
  }

  /** Whether a child is kept for a request. */
  has (owner: Owner, request: Message): boolean {
    const state = stateOf(request)
    return state !== undefined && this.#kept.has(nameOf(owner, state))
  }

  /** The child that is kept for a request, which is not kept any more. */
  take (owner: Owner, request: Message): Lease | undefined {
    const state = stateOf(request)
    const lease = state === undefined ? undefined : this.#kept.take(nameOf(owner, state))?.lease
    if (lease === undefined || lease.mux.state === 'ready') return lease
    lease.release('dirty')
    return undefined
  }

  /** Somebody needs a child: one makes way whose client has been away for so many milliseconds. `false` when none has. */
  yield (age: number): boolean {
    return this.#kept.yield(age)
  }

  close (): void {
    this.#kept.close()
  }
}

/** What a retry brings back; `undefined` when a request is none. */
export function stateOf (request: Message): string | undefined {
  const state = request.params?.['requestState']
  return typeof state === 'string' ? state : undefined
}

/** A state may be large. What others can guess of it must not lead them to a child that was started for somebody else. */
function nameOf ({ principal, kind }: Owner, state: string): string {
  return createHash('sha256').update(JSON.stringify([principal ?? null, kind.name, state])).digest('base64')
}
