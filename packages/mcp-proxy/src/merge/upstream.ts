import { isObject, type Connect, type ConnectContext, type Connection, type Message, type SendOptions, type Transport } from '@mcp-proxy/protocol'

/** What a server says, and that it will say nothing more. */
export interface UpstreamListener {
  readonly heard: (server: Upstream, message: Message, options: SendOptions | undefined) => void | Promise<void>
  readonly lost: (server: Upstream) => void
}

/** One of the servers of a merged party: for this server, the party itself. */
export class Upstream implements Transport {
  readonly name: string
  onmessage: ((message: Message) => void) | undefined
  /** It has shaken hands, and has not gone. */
  ready = false
  capabilities: Readonly<Record<string, unknown>> = {}
  readonly #listener: UpstreamListener
  #connection: Connection | undefined
  #gone = false

  constructor (name: string, listener: UpstreamListener) {
    this.name = name
    this.#listener = listener
  }

  get gone (): boolean { return this.#gone }

  open (connect: Connect, context: ConnectContext): void {
    this.#connection = connect(this, context)
    if (this.#gone) void this.#release()
  }

  /** It has told that it can do this. */
  can (...path: readonly string[]): boolean {
    let value: unknown = this.capabilities
    for (const name of path) value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
    return value !== undefined && value !== false
  }

  /** What the party says. */
  tell (message: Message): void {
    if (!this.#gone) this.onmessage?.(message)
  }

  send (message: Message, options?: SendOptions): void | Promise<void> {
    if (!this.#gone) return this.#listener.heard(this, message, options)
  }

  /** The server's side has ended. */
  close (): void {
    if (this.#gone) return
    this.#gone = true
    this.ready = false
    this.#listener.lost(this)
    void this.#release()
  }

  /** The party's side ends. */
  async end (): Promise<void> {
    this.#gone = true
    this.ready = false
    await this.#release()
  }

  async #release (): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
  }
}
