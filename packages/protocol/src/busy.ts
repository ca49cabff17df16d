// V8 links each table that a Map or Set has outgrown to the next, for iterators that may still be at it. Once one of them
// is old, everything that was ever in a later one looks alive to the collection of young objects and is carried along
// until the next full collection. With entries that come and go by the thousand that costs more than all else: here a new
// collection takes over from time to time, which nothing old points to.

/** Removals after which a new collection takes over. */
const RENEW_AFTER = 1024

/**
 * A `Map` for what comes and goes with every message. One entry at a time, which is what most clients have, costs no table.
 * Entries that are removed while it is iterated may still be seen: iterate a copy.
 */
export class BusyMap<K, V> {
  #only: [K, V] | undefined
  /** From the second entry on. */
  #map: Map<K, V> | undefined
  #removals = 0

  get size (): number {
    if (this.#map !== undefined) return this.#map.size
    return this.#only === undefined ? 0 : 1
  }

  get (key: K): V | undefined {
    if (this.#map !== undefined) return this.#map.get(key)
    return this.#only?.[0] === key ? this.#only[1] : undefined
  }

  has (key: K): boolean {
    return this.#map !== undefined ? this.#map.has(key) : this.#only !== undefined && this.#only[0] === key
  }

  set (key: K, value: V): void {
    if (this.#map !== undefined) this.#map.set(key, value)
    else if (this.#only === undefined || this.#only[0] === key) this.#only = [key, value]
    else {
      this.#map = new Map([this.#only, [key, value]])
      this.#only = undefined
    }
  }

  delete (key: K): boolean {
    if (this.#map === undefined) {
      if (!this.has(key)) return false
      this.#only = undefined
      return true
    }
    if (!this.#map.delete(key)) return false
    if (++this.#removals > RENEW_AFTER + this.#map.size) this.#renew(this.#map)
    return true
  }

  clear (): void {
    this.#map = this.#only = undefined
  }

  keys (): IterableIterator<K> {
    return this.#map?.keys() ?? (this.#only === undefined ? [] : [this.#only[0]]).values()
  }

  values (): IterableIterator<V> {
    return this.#map?.values() ?? (this.#only === undefined ? [] : [this.#only[1]]).values()
  }

  [Symbol.iterator] (): IterableIterator<[K, V]> {
    return this.#map?.entries() ?? (this.#only === undefined ? [] : [this.#only]).values()
  }

  #renew (map: Map<K, V>): void {
    this.#removals = 0
    this.#map = map.size === 0 ? undefined : new Map(map)
  }
}

/** A `Set` for what comes and goes with every message, as `BusyMap` is a `Map`. */
export class BusySet<T> {
  readonly #members = new BusyMap<T, true>()

  get size (): number { return this.#members.size }

  has (member: T): boolean { return this.#members.has(member) }

  add (member: T): void {
    this.#members.set(member, true)
  }

  delete (member: T): boolean { return this.#members.delete(member) }

  clear (): void {
    this.#members.clear()
  }

  [Symbol.iterator] (): IterableIterator<T> { return this.#members.keys() }
}
