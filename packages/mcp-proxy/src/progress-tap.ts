import { isObject } from '@mcp-proxy/protocol'
import type { SdkPeer } from './sdk-peer.js'

type Params = Record<string, unknown>
type Handler = (...args: unknown[]) => unknown

/**
 * Hears the progress of requests before the SDK does. The SDK looks for who wants it a moment later, when an answer
 * that came in the same read has been taken already: the last steps would be lost, or overtaken by the answer.
 */
export class ProgressTap {
  readonly #client: SdkPeer
  readonly #listeners = new Map<unknown, (params: Params) => void>()
  #transport: unknown
  #next = 0

  constructor (client: SdkPeer) {
    this.#client = client
  }

  /** A token that progress is to be sent under, until it is forgotten. */
  listen (listener: (params: Params) => void): string {
    this.#attach()
    const token = `mcp-proxy-progress-${this.#next++}`
    this.#listeners.set(token, listener)
    return token
  }

  forget (token: string): void {
    this.#listeners.delete(token)
  }

  /** A client may be connected anew, to another transport. */
  #attach (): void {
    const { transport } = this.#client
    if (transport === this.#transport || transport === null || typeof transport !== 'object') return
    this.#transport = transport
    const handler: unknown = Reflect.get(transport, 'onmessage')
    if (!isHandler(handler)) return
    Reflect.set(transport, 'onmessage', (...args: unknown[]): unknown => this.#hears(args[0]) ? undefined : Reflect.apply(handler, transport, args))
  }

  #hears (message: unknown): boolean {
    if (!isObject(message) || message['method'] !== 'notifications/progress' || !isObject(message['params'])) return false
    const { progressToken, ...params } = message['params']
    const listener = this.#listeners.get(progressToken)
    listener?.(params)
    return listener !== undefined
  }
}

function isHandler (value: unknown): value is Handler {
  return typeof value === 'function'
}
