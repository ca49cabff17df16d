import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Readable names of workers: what a session id ends with, and what a sealed state begins with. Routing goes by them, rights do not. */
const SESSION_TAG = /-w([1-9]\d{0,2})$/
const STATE_TAG = /^w([1-9]\d{0,2})\./

/** Stands before the states that a worker seals. */
export function stateTag (worker: number): string {
  return `w${worker}`
}

/** A fresh session id of a worker, as hard to guess as any. */
export function newSessionId (worker: number): string {
  return `${randomUUID()}-w${worker}`
}

/** The worker that has made a session id; `undefined` when none of any proxy has. */
export function workerOfSession (id: string | undefined | null): number | undefined {
  return read(SESSION_TAG, id)
}

/** The worker that has sealed a state; `undefined` for a state that is not the proxy's. */
export function workerOfState (state: unknown): number | undefined {
  return typeof state === 'string' ? read(STATE_TAG, state) : undefined
}

/** The worker whose session a request names: in the query over HTTP+SSE, in a header over Streamable HTTP. */
export function workerOfRequest ({ url = '', headers }: Pick<IncomingMessage, 'url' | 'headers'>): number | undefined {
  const header = headers['mcp-session-id']
  return workerOfTarget(url) ?? workerOfSession(typeof header === 'string' ? header : undefined)
}

/** The worker whose session the query of a URL names. */
export function workerOfTarget (target: string): number | undefined {
  const query = target.indexOf('?')
  return query === -1 ? undefined : workerOfSession(new URLSearchParams(target.slice(query)).get('sessionId'))
}

function read (pattern: RegExp, text: string | undefined | null): number | undefined {
  const [, digits] = pattern.exec(text ?? '') ?? []
  return digits === undefined ? undefined : Number(digits)
}
