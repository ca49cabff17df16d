import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { mcpError } from '../errors.js'
import { isObject } from '../object.js'
import { canonicalJson } from './canonical.js'
import type { Message } from '../message.js'

/** What a client carries from one round of a call to the next, and cannot read. */
export interface RequestState {
  /** The authenticated user; `undefined` where nobody asks for one. */
  readonly principal?: string | undefined
  readonly method: string
  /** {@link digestOf} the request. */
  readonly digest: string
  /** `Date.now()` at which it is refused. */
  readonly expires: number
  /** Names the parked call in this one round. */
  readonly call?: string | undefined
  /** What the client has been asked, when no call waits for the answers: input requests by key, as JSON text. */
  readonly asked?: Readonly<Record<string, string>> | undefined
}

const VERSION = 1
const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Seals what a client carries: it can be neither read nor changed on the way (2026-07-28, "Multi Round-Trip Requests"). */
export class StateSeal {
  readonly #key: Uint8Array
  readonly #tag: string

  /**
   * @param secret any text or bytes, never used as they are. @default random: what was sealed opens in this process only
   * @param tag stands before what is sealed, readable, with a dot behind it: no dot may be in it. @default nothing does
   * @throws MCP_ERR_OPTION when one of them cannot be used
   */
  constructor (secret: Buffer | string = randomBytes(32), tag: string = '') {
    if (!/^[\w-]{0,32}$/.test(tag)) throw mcpError('MCP_ERR_OPTION', 'stateTag', 'up to 32 letters, digits, _ and -', JSON.stringify(tag))
    this.#tag = tag
    if (secret.length === 0) throw mcpError('MCP_ERR_OPTION', 'stateKey', 'a text or bytes', 'empty')
    this.#key = new Uint8Array(hkdfSync('sha256', secret, '', 'mcp-proxy requestState', 32))
  }

  seal (state: RequestState): string {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(this.#tag))
    const sealed = [nonce, cipher.update(JSON.stringify({ ...state, v: VERSION })), cipher.final()]
    const text = Buffer.concat([...sealed, cipher.getAuthTag()]).toString('base64url')
    return this.#tag === '' ? text : `${this.#tag}.${text}`
  }

  /** What was sealed with this key, under whatever tag; `undefined` for anything else, and for other spellings of it. Never throws. */
  open (text: string): RequestState | undefined {
    const dot = text.indexOf('.')
    const sealed = text.slice(dot + 1)
    const bytes = Buffer.from(sealed, 'base64url')
    // several texts decode to the same bytes
    if (dot === 0 || bytes.length < NONCE_BYTES + TAG_BYTES || bytes.toString('base64url') !== sealed) return undefined
    try {
      const decipher = createDecipheriv(CIPHER, this.#key, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(text.slice(0, Math.max(dot, 0)))).setAuthTag(bytes.subarray(-TAG_BYTES))
      const json = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString()
      const state = JSON.parse(json) as unknown
      return isState(state) ? state : undefined
    } catch {
      return undefined
    }
  }
}

/** What opens was written here, but perhaps by another version. */
function isState (value: unknown): value is RequestState & Readonly<Record<string, unknown>> {
  return isObject(value) && value['v'] === VERSION
}

/** A fingerprint of what a request asks for: all of its parameters but who asks and what makes it a retry. */
export function digestOf ({ params = {} }: Message): string {
  const { _meta, inputResponses, requestState, ...asked } = params
  return createHash('sha256').update(canonicalJson(asked)).digest('base64url')
}

/**
 * Reads the state that a retry carries.
 * @throws MCP_ERR_REQUEST_STATE, with the reason
 */
export function openState (seal: StateSeal, retry: Message, principal: string | undefined): RequestState {
  const text = retry.params?.['requestState']
  const state = typeof text === 'string' ? seal.open(text) : undefined
  if (state === undefined) throw refused('it is malformed or was changed')
  if (state.principal !== principal) throw refused('it is another user\'s')
  if (state.method !== retry.method || state.digest !== digestOf(retry)) throw refused('it is of another request')
  if (state.expires <= Date.now()) throw refused('it has expired')
  return state
}

export function refused (reason: string): Error {
  return mcpError('MCP_ERR_REQUEST_STATE', reason)
}
