import { Message, checkInteger, checkMilliseconds, guessEnvelope, mcpError, toRpcError, type CodedError, type Connect, type Connection, type FastifyBaseLogger, type Transport } from '@mcp-proxy/protocol'
import { DEFAULT_MAX_MESSAGE_BYTES, LineReader } from '@mcp-proxy/stdio-bridge'
import type { Readable, Writable } from 'node:stream'
import { LineWriter } from './line-writer.js'
import { OpenRequests } from './open-requests.js'

export interface StdioFaceOptions {
  /** What answers the host. */
  readonly connect: Connect
  /** @default process.stdin */
  readonly stdin?: Readable | undefined
  /** Carries nothing but messages. @default process.stdout */
  readonly stdout?: Writable | undefined
  /** Must not write to stdout. @default nothing is logged */
  readonly log?: FastifyBaseLogger | undefined
  /** Bytes of the largest line that is taken. @default 67_108_864 */
  readonly maxMessageBytes?: number | undefined
  /** Milliseconds that open calls get when stdin has ended. @default 5_000 */
  readonly closeGrace?: number | undefined
}

/** A host that is served over stdio. */
export interface StdioFace {
  /** Ends it: nothing more is read, written or waited for. The streams stay open. */
  readonly close: () => Promise<void>
  /** Settles when it has ended, whoever has ended it. */
  readonly ended: Promise<void>
}

export const DEFAULT_CLOSE_GRACE = 5_000

/**
 * Serves one host over stdio (every revision, "stdio"): a line is a message, a batch of 2025-03-26 too. When stdin ends, open calls get
 * a moment; then all is closed.
 * @throws MCP_ERR_OPTION
 */
export function serveStdio (options: StdioFaceOptions): StdioFace {
  return new Face(options)
}

class Face implements StdioFace {
  readonly ended: Promise<void>
  readonly #stdin: Readable
  readonly #writer: LineWriter
  readonly #reader: LineReader
  readonly #log: FastifyBaseLogger
  readonly #closeGrace: number
  readonly #transport: Transport
  readonly #connection: Connection
  readonly #open = new OpenRequests()
  #end: () => void = () => {}
  #closing: Promise<void> | undefined
  #grace: NodeJS.Timeout | undefined
  #inputEnded = false

  constructor ({ connect, stdin = process.stdin, stdout = process.stdout, log = SILENT, maxMessageBytes = DEFAULT_MAX_MESSAGE_BYTES, closeGrace = DEFAULT_CLOSE_GRACE }: StdioFaceOptions) {
    const limit = checkInteger('maxMessageBytes', maxMessageBytes, 1)
    this.#closeGrace = checkMilliseconds('closeGrace', closeGrace)
    this.#stdin = stdin
    this.#log = log
    this.ended = new Promise((resolve) => { this.#end = resolve })
    this.#reader = new LineReader(limit, {
      line: line => this.#read(line),
      oversize: (head, tail) => this.#refuse(requestIdOf(head, tail), mcpError('MCP_ERR_BODY_TOO_LARGE', limit)),
    })
    this.#writer = new LineWriter(stdout, () => { void this.close() })
    this.#transport = {
      send: message => this.#write(message),
      close: () => this.close(),
    }
    this.#connection = connect(this.#transport, { id: 'stdio', principal: undefined, request: undefined, log })
    stdin.on('data', this.#data)
    stdin.on('end', this.#ending)
    stdin.on('close', this.#ending)
    stdin.on('error', this.#ending)
  }

  close (): Promise<void> {
    this.#closing ??= this.#stop()
    return this.#closing
  }

  async #stop (): Promise<void> {
    clearTimeout(this.#grace)
    this.#stdin.off('data', this.#data).off('end', this.#ending).off('close', this.#ending).pause()
    await this.#connection.close()
    await this.#writer.flush()
    this.#writer.release()
    this.#end()
  }

  readonly #data = (chunk: Buffer | string): void => {
    this.#reader.push(Buffer.from(chunk))
    const { room } = this.#writer
    if (room === undefined || this.#closing !== undefined) return
    // a host that does not read is not listened to: its answers would pile up here
    this.#stdin.pause()
    void room.then(() => { if (this.#closing === undefined) this.#stdin.resume() })
  }

  readonly #ending = (): void => {
    if (this.#inputEnded) return
    this.#inputEnded = true
    this.#reader.end()
    this.#log.debug({ open: this.#open.size }, 'stdin has ended')
    if (this.#open.size === 0) void this.close()
    else this.#grace = setTimeout(() => { void this.close() }, this.#closeGrace)
  }

  #read (line: Buffer): void {
    if (this.#closing !== undefined) return
    let messages: Message | Message[]
    try {
      messages = Message.parse(line)
    } catch (error) {
      const { code } = error as CodedError
      this.#refuse(code === 'MCP_ERR_INVALID_REQUEST' ? requestIdOf(line, NO_TAIL) : undefined, error as CodedError)
      return
    }
    if (!Array.isArray(messages)) {
      this.#take(messages)
      return
    }
    for (const message of messages) {
      if (message.method !== 'initialize') this.#take(message)
      else this.#refuse(message.rawId, mcpError('MCP_ERR_BATCH_INITIALIZE'))
    }
  }

  #take (message: Message): void {
    this.#open.asked(message)
    this.#transport.onmessage?.(message)
  }

  #write (message: Message): void | Promise<void> {
    this.#open.answered(message)
    const full = this.#writer.write(message)
    if (this.#inputEnded && this.#open.size === 0) void this.close()
    return full
  }

  /** Answers what has gone no further: another request under the same id may be open. */
  #refuse (rawId: string = 'null', error: CodedError): void {
    void this.#writer.write(Message.error(rawId, toRpcError(error)))
  }
}

/** The id of a request that cannot be used; of a response it would name a request of the host. */
function requestIdOf (head: Buffer, tail: Buffer): string | undefined {
  const { rawId, asks } = guessEnvelope(head, tail)
  return asks ? rawId : undefined
}

const NO_TAIL = Buffer.alloc(0)

const nothing = (): void => {}
const SILENT: FastifyBaseLogger = { fatal: nothing, error: nothing, warn: nothing, info: nothing, debug: nothing, trace: nothing }
