import type { CodedError } from '../errors.js'
import type { Message } from '../message.js'
import type { Connection, SendOptions, Transport } from '../transport.js'
import type { LegacyServer, LegacySource, Need } from './legacy-source.js'
import type { ConnectContext } from '../transport.js'

/** What happens to whom a server was lent to. */
export interface Borrower {
  /** There is one, which is joined next: it may have something to say at once. */
  readonly meet?: (server: LegacyServer) => void
  /** It has been joined. */
  readonly serve: (server: LegacyServer) => void
  readonly receive: (message: Message, options: SendOptions | undefined) => void | Promise<void>
  /** There is none, or none any more. */
  readonly fail: (error: CodedError | undefined) => void
}

/** A server of a source, from the wish for one until it is given back. */
export class BorrowedServer implements Transport {
  onmessage: ((message: Message) => void) | undefined
  /** Made when somebody asks for its signal: most servers are there at once, and a signal costs more than a message. */
  #wanted: AbortController | undefined
  #over = false
  readonly #borrower: Borrower
  #connection: Connection | undefined

  constructor (borrower: Borrower) {
    this.#borrower = borrower
  }

  /** What the server says. */
  send (message: Message, options?: SendOptions): void | Promise<void> {
    return this.#over ? undefined : this.#borrower.receive(message, options)
  }

  /** The server has gone. */
  close (): void {
    if (!this.#over) this.#borrower.fail(undefined)
  }

  /** @throws CodedError, where the source does at once */
  borrow (source: LegacySource, need: Omit<Need, 'signal'>, context: ConnectContext): void {
    const { method, introduction, alone, stays } = need
    const opened = source.open({ method, introduction, alone, stays, signal: () => this.#signal() }, context)
    // what is there at once is used at once
    if (!('then' in opened)) this.#serve(opened)
    else opened.then(server => this.#serve(server)).catch((error: CodedError) => { if (!this.#over) this.#borrower.fail(error) })
  }

  tell (message: Message): void {
    this.onmessage?.(message)
  }

  /** Gives it back, or does not want it any more. What is open on it is cancelled; nothing is heard of it. */
  giveBack (): void {
    if (this.#over) return
    this.#over = true
    this.#wanted?.abort()
    void this.#connection?.close()
  }

  #signal (): AbortSignal {
    this.#wanted ??= new AbortController()
    if (this.#over) this.#wanted.abort()
    return this.#wanted.signal
  }

  #serve (server: LegacyServer): void {
    this.#borrower.meet?.(server)
    this.#connection = server.connect(this)
    // it came too late
    if (this.#over) void this.#connection.close()
    else this.#borrower.serve(server)
  }
}
