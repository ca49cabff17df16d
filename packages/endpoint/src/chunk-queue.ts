/** Chunks that wait, first in first out. What has gone is let go of, and taking one costs the same however many wait. */
export class ChunkQueue {
  bytes = 0
  readonly #chunks: Array<Buffer | undefined> = []
  #next = 0

  get empty (): boolean { return this.#next === this.#chunks.length }

  push (chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.bytes += chunk.length
  }

  shift (): Buffer | undefined {
    const chunk = this.#chunks[this.#next]
    if (chunk === undefined) return undefined
    this.#chunks[this.#next++] = undefined
    this.bytes -= chunk.length
    // as many places are moved as have been taken since
    if (this.#next * 2 > this.#chunks.length) {
      this.#chunks.splice(0, this.#next)
      this.#next = 0
    }
    return chunk
  }
}
