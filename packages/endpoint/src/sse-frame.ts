/** An event as the HTML standard names its parts ("Server-sent events", 9.2.6). */
export interface SseEvent {
  readonly id?: string | undefined
  readonly event?: string | undefined
  /** Must not hold a line break: JSON on one line has none. */
  readonly data: Buffer | string
  /** Milliseconds a client waits before it reconnects. */
  readonly retry?: number | undefined
}

/** Comments, which clients pass over. */
export const OPENING: Buffer = Buffer.from(':\n\n')
export const KEEP_ALIVE: Buffer = Buffer.from(': keep-alive\n\n')

/** From this size on data goes out as it is instead of being copied between its frame. */
const LARGE = 16 * 1024
/** Bytes that are handed to the connection at once: what it takes shows whether somebody reads. */
const PIECE = 64 * 1024
const END_OF_EVENT = Buffer.from('\n\n')

/** The bytes of an event, in one piece or, of a large one, in several. */
export function frame ({ id, event, data, retry }: SseEvent): Buffer | Buffer[] {
  let head = id === undefined ? '' : `id: ${id}\n`
  if (event !== undefined) head += `event: ${event}\n`
  if (retry !== undefined) head += `retry: ${retry}\n`
  head += 'data: '
  if (typeof data === 'string') return Buffer.from(`${head}${data}\n\n`)
  if (data.length >= LARGE) return [Buffer.from(head), ...pieces(data), END_OF_EVENT]
  const start = Buffer.byteLength(head)
  const bytes = Buffer.allocUnsafe(start + data.length + 2)
  bytes.write(head)
  data.copy(bytes, start)
  bytes[bytes.length - 2] = bytes[bytes.length - 1] = 0x0a
  return bytes
}

function pieces (data: Buffer): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at < data.length; at += PIECE) parts.push(data.subarray(at, at + PIECE))
  return parts
}
