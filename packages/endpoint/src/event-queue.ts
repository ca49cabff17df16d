// Queues of links: the oldest goes first, at the same cost however many have gone before. A Map would look at the places
// of all that have gone whenever it is asked for its first.

/** Bytes of a message up to which it is kept as text: that is part of the heap, and ends with it. */
const SMALL = 4096

/** One stream, with the events of it that are kept. */
export class EventStream {
  readonly id: string
  bytes = 0
  first: KeptEvent | undefined
  last: KeptEvent | undefined

  constructor (id: string) {
    this.id = id
  }
}

/** An event that is kept: a link in the queue of all, and in that of its stream. */
export class KeptEvent {
  readonly stream: EventStream
  readonly number: number
  /** `Date.now()` when it was stored. */
  readonly at: number = Date.now()
  readonly size: number
  /** One character for each byte, or bytes of its own: those of a message are often a small part of a buffer that would be kept whole. */
  readonly #message: string | Buffer
  kept = true
  /** The next of its stream. */
  later: KeptEvent | undefined
  /** The neighbours among all. */
  before: KeptEvent | undefined
  after: KeptEvent | undefined

  constructor (stream: EventStream, number: number, message: Buffer) {
    this.stream = stream
    this.number = number
    this.size = message.length
    this.#message = message.length <= SMALL ? message.toString('latin1') : unshared(message)
  }

  get message (): Buffer {
    return typeof this.#message === 'string' ? Buffer.from(this.#message, 'latin1') : this.#message
  }
}

/** All events that are kept, oldest first. Of each stream only the oldest may be dropped. */
export class EventQueue {
  size = 0
  bytes = 0
  first: KeptEvent | undefined
  #last: KeptEvent | undefined

  push (event: KeptEvent): void {
    const { stream } = event
    if (stream.last === undefined) stream.first = event
    else stream.last.later = event
    stream.last = event
    stream.bytes += event.size
    event.before = this.#last
    if (this.#last === undefined) this.first = event
    else this.#last.after = event
    this.#last = event
    this.size++
    this.bytes += event.size
  }

  drop (event: KeptEvent): void {
    const { after, before, later, stream } = event
    stream.first = later
    if (later === undefined) stream.last = undefined
    stream.bytes -= event.size
    if (before === undefined) this.first = after
    else before.after = after
    if (after === undefined) this.#last = before
    else after.before = before
    this.size--
    this.bytes -= event.size
    event.kept = false
    // what is old and gone must not keep what is young alive
    event.later = event.before = event.after = undefined
  }
}

function unshared (bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= 2 * bytes.length) return bytes
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}
