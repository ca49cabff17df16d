/** What {@link LineReader} reports. */
export interface LineHandler {
  /** One line without its line break; never empty. */
  line: (line: Buffer) => void
  /** A line over the limit: its first and last bytes. The rest was dropped as it came. */
  oversize: (head: Buffer, tail: Buffer) => void
}

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const SPACE = 0x20
/** Bytes kept of each end of a line over the limit. */
const EDGE = 256

/**
 * Cuts a byte stream into lines (stdio transport: one message a line). Works on bytes, so a UTF-8 character split over
 * chunks needs no care; keeps chunks and joins them once, so a line costs linear time however it arrives.
 */
export class LineReader {
  readonly #limit: number
  readonly #handler: LineHandler
  #chunks: Buffer[] = []
  #size = 0
  #head: Buffer | undefined
  #tail: Buffer = Buffer.alloc(0)

  constructor (limit: number, handler: LineHandler) {
    this.#limit = limit
    this.#handler = handler
  }

  push (chunk: Buffer): void {
    let start = 0
    // looked for once in all lines of a chunk
    const plain = !chunk.includes(CARRIAGE_RETURN)
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      if (plain && this.#size === 0 && end > start && end - start <= this.#limit && chunk[end - 1] !== SPACE) {
        this.#handler.line(chunk.subarray(start, end))
      } else {
        this.#keep(chunk.subarray(start, end))
        this.#finish()
      }
      start = end + 1
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start))
  }

  /** The stream has ended: what came after the last line break is a line too. */
  end (): void {
    this.#finish()
  }

  #keep (part: Buffer): void {
    this.#size += part.length
    if (this.#size <= this.#limit) {
      this.#chunks.push(part)
      return
    }
    if (this.#head === undefined) {
      const kept = Buffer.concat([...this.#chunks, part])
      this.#head = Buffer.from(kept.subarray(0, EDGE))
      this.#tail = Buffer.from(kept.subarray(-EDGE))
      this.#chunks = []
    } else {
      this.#tail = Buffer.concat([this.#tail, part.subarray(-EDGE)]).subarray(-EDGE)
    }
  }

  #finish (): void {
    const [first] = this.#chunks
    const head = this.#head
    const line = first !== undefined && this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#size = 0
    this.#head = undefined
    if (head !== undefined) {
      this.#handler.oversize(head, trimEnd(this.#tail))
      return
    }
    const text = trimEnd(line)
    if (text.length === 0) return
    // white space in JSON, but the end of a line in an event stream
    for (let at = text.indexOf(CARRIAGE_RETURN); at !== -1; at = text.indexOf(CARRIAGE_RETURN, at + 1)) text[at] = SPACE
    this.#handler.line(text)
  }
}

function trimEnd (line: Buffer): Buffer {
  let end = line.length
  while (end > 0 && (line[end - 1] === CARRIAGE_RETURN || line[end - 1] === SPACE)) end--
  return end === line.length ? line : line.subarray(0, end)
}
