import type { Mux } from './mux.js'

/** Children of one kind that wait. */
interface Shelf {
  readonly muxes: Mux[]
  /** `Date.now()` at which one was asked for last. */
  usedAt: number
}

/** Children that are ready, by the name of their kind, which clients choose. The kind that was used longest ago comes first. */
export class Shelves {
  /** None is empty. */
  readonly #byName = new Map<string, Shelf>()
  readonly #ondrop: (name: string) => void

  /** @param ondrop called when all of a kind are taken away, but not when clients have taken them */
  constructor (ondrop: (name: string) => void) {
    this.#ondrop = ondrop
  }

  /** How many of a kind are ready. */
  size (name: string): number {
    return this.#byName.get(name)?.muxes.length ?? 0
  }

  /** The one of a kind that was put there last. */
  take (name: string, usedAt: number): Mux | undefined {
    const shelf = this.#byName.get(name)
    if (shelf === undefined) return undefined
    const mux = shelf.muxes.pop()
    // used last: now at the end
    this.#byName.delete(name)
    if (shelf.muxes.length > 0) this.#byName.set(name, shelf)
    shelf.usedAt = usedAt
    return mux
  }

  put (name: string, mux: Mux): void {
    const shelf = this.#byName.get(name)
    if (shelf === undefined) this.#byName.set(name, { muxes: [mux], usedAt: Date.now() })
    else shelf.muxes.push(mux)
  }

  /** Ends the oldest of a kind when there are more than so many. */
  trim (name: string, max: number): void {
    const shelf = this.#byName.get(name)
    if (shelf !== undefined && shelf.muxes.length > max) void shelf.muxes.shift()?.close()
  }

  /** Forgets one that has died. */
  remove (mux: Mux): void {
    for (const [name, { muxes }] of this.#byName) {
      const index = muxes.indexOf(mux)
      if (index !== -1) muxes.splice(index, 1)
      if (muxes.length === 0) this.#byName.delete(name)
    }
  }

  /** Ends a child of the kind that was used longest ago; `false` when there is none. */
  yield (): boolean {
    const [first] = this.#byName
    if (first === undefined) return false
    const [name, { muxes }] = first
    void muxes.shift()?.close()
    if (muxes.length === 0) this.#drop(name)
    return true
  }

  /** Ends what nobody has asked for since then, but for so many of each kind. */
  sweep (since: number, keep: number = 0): void {
    for (const [name, { muxes, usedAt }] of this.#byName) {
      if (usedAt > since) continue
      if (keep === 0) this.#drop(name)
      for (const mux of muxes.splice(0, Math.max(0, muxes.length - keep))) void mux.close()
    }
  }

  #drop (name: string): void {
    this.#byName.delete(name)
    this.#ondrop(name)
  }
}
