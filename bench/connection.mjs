// One HTTP/1.1 connection, kept alive, with one exchange at a time. node:http costs the load generator several times what the
// floor costs the program under test; this much is enough to talk to it.
import { connect } from 'node:net'

const END_OF_HEAD = Buffer.from('\r\n\r\n')
const NOTHING = Buffer.alloc(0)

export class Connection {
  #port
  #socket
  #exchange

  constructor (port) {
    this.#port = port
  }

  /**
   * Sends a request; resolves to `{ status, header (name), body }`. `onpiece` gets the pieces of an event stream instead, an
   * empty one first, when its head is there.
   * Rejects when the connection ends before the answer does.
   */
  exchange (method, path, headers, text, onpiece) {
    return new Promise((resolve, reject) => {
      this.#exchange = new Exchange(method, resolve, reject, onpiece)
      if (this.#socket === undefined || this.#socket.destroyed) this.#open()
      const length = method === 'POST' ? `Content-Length: ${Buffer.byteLength(text)}\r\n` : ''
      this.#socket.write(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n${headers}${length}\r\n${text}`)
    })
  }

  #open () {
    const socket = connect(this.#port, '127.0.0.1')
    this.#socket = socket
    socket.setNoDelay()
    socket.on('data', (chunk) => {
      const exchange = this.#exchange
      if (exchange?.take(chunk) !== true) return
      this.#exchange = undefined
      if (exchange.header('connection') === 'close') socket.destroy()
      exchange.finish()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#socket !== socket) return
      this.#socket = undefined
      this.#exchange?.cut()
      this.#exchange = undefined
    })
  }

  close () {
    this.#socket?.destroy()
  }
}

/** Reads one answer out of the chunks of a connection. */
class Exchange {
  #method
  #resolve
  #reject
  #onpiece
  #rest = NOTHING
  #head
  #lower
  #parts = []
  /** Bytes that are left of the body, or of the current chunk of one. */
  #left = 0
  #framing
  #lastChunk = false

  constructor (method, resolve, reject, onpiece) {
    this.#method = method
    this.#resolve = resolve
    this.#reject = reject
    this.#onpiece = onpiece
  }

  /** @returns whether the answer is complete */
  take (chunk) {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    this.#rest = NOTHING
    if (this.#head === undefined) {
      const end = bytes.indexOf(END_OF_HEAD)
      if (end === -1) {
        this.#rest = bytes
        return false
      }
      this.#readHead(bytes.latin1Slice(0, end))
      bytes = bytes.subarray(end + 4)
    }
    if (this.#framing === 'chunked') return this.#takeChunked(bytes)
    if (bytes.length > 0) this.#piece(bytes)
    this.#left -= bytes.length
    return this.#framing === 'length' && this.#left <= 0
  }

  #readHead (head) {
    this.#head = head
    this.#lower = head.toLowerCase()
    const length = this.header('content-length')
    if (this.header('transfer-encoding') === 'chunked') {
      this.#framing = 'chunked'
    } else if (length !== undefined || this.#status === 204) {
      this.#framing = 'length'
      this.#left = Number(length ?? 0)
    } else {
      this.#framing = 'close'
    }
    if (this.header('content-type')?.startsWith('text/event-stream')) this.#onpiece?.(NOTHING)
    else this.#onpiece = undefined
  }

  #takeChunked (bytes) {
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 2) {
        const end = Math.min(bytes.length, at + this.#left - 2)
        this.#piece(bytes.subarray(at, end))
        this.#left -= end - at
        at = end
      } else if (this.#left > 0) {
        // the line end that follows the data of a chunk
        const skipped = Math.min(this.#left, bytes.length - at)
        this.#left -= skipped
        at += skipped
        if (this.#left === 0 && this.#lastChunk) return true
      } else {
        const end = bytes.indexOf(10, at)
        if (end === -1) {
          this.#rest = bytes.subarray(at)
          return false
        }
        const size = parseInt(bytes.latin1Slice(at, end), 16)
        this.#lastChunk = size === 0
        this.#left = size + 2
        at = end + 1
      }
    }
    return false
  }

  #piece (bytes) {
    if (this.#onpiece === undefined) this.#parts.push(bytes)
    else this.#onpiece(bytes)
  }

  get #status () { return Number(this.#head.slice(9, 12)) }

  header (name) {
    const at = this.#lower.indexOf(`\r\n${name}:`)
    if (at === -1) return undefined
    const end = this.#head.indexOf('\r\n', at + 2)
    return this.#head.slice(at + name.length + 3, end === -1 ? undefined : end).trim()
  }

  finish () {
    const body = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts)
    this.#resolve({ status: this.#status, header: name => this.header(name), body })
  }

  cut () {
    if (this.#framing === 'close') this.finish()
    else this.#reject(new Error(`${this.#method}: the connection has ended before the answer`))
  }
}
