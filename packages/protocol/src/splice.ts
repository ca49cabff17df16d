import type { Span } from './scan.js'

/** What stands at one place of a message, and what shall stand there. */
export type Place = Span & { readonly text: string }

/** Replaces the bytes at one place, as by far most splices do. */
export function replace (bytes: Buffer, start: number, end: number, text: string): Buffer {
  const behind = start + Buffer.byteLength(text)
  const spliced = Buffer.allocUnsafe(behind + bytes.length - end)
  bytes.copy(spliced, 0, 0, start)
  spliced.write(text, start)
  bytes.copy(spliced, behind, end)
  return spliced
}

/** Replaces the bytes at some places, which must not overlap. */
export function splice (bytes: Buffer, places: readonly Place[]): Buffer {
  let size = bytes.length
  for (const { start, end, text } of places) size += Buffer.byteLength(text) - (end - start)
  const spliced = Buffer.allocUnsafe(size)
  let [from, to] = [0, 0]
  for (const { start, end, text } of places.toSorted((a, b) => a.start - b.start)) {
    to += bytes.copy(spliced, to, from, start)
    to += spliced.write(text, to)
    from = end
  }
  bytes.copy(spliced, to, from)
  return spliced
}

/** Where something stands after a splice beside it. */
export function moveSpan (span: Span | undefined, { start, end, text }: Place): Span | undefined {
  if (span === undefined || span.end <= start) return span
  if (span.start < end) return undefined
  const moved = Buffer.byteLength(text) - (end - start)
  return { start: span.start + moved, end: span.end + moved }
}
