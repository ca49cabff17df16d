// V8 links each table that a Map or Set has outgrown to the next, for iterators that may still be at it. Once one of them
// is old, everything that was ever in a later one looks alive to the collection of young objects and is carried along
// until the next full collection. With entries that come and go by the thousand that costs more than all else: here a new
// collection takes over from time to time, which nothing old points to.

/** Removals after which a new collection takes over. */
const RENEW_AFTER = 1024

/** A `Map` for what comes and goes with every message. Entries that are removed while it is iterated may still be seen: iterate a copy. */
export class BusyMap<K, V> {
  #map = new Map<K, V>()
  #removals = 0

  get size (): number { return this.#map.size }

  get (key: K): V | undefined { return this.#map.get(key) }

  has (key: K): boolean { return this.#map.has(key) }

  set (key: K, value: V): void {
    this.#map.set(key, value)
  }

  delete (key: K): boolean {
    if (!this.#map.delete(key)) return false
    if (++this.#removals > RENEW_AFTER + this.#map.size) this.#renew()
    return true
  }

  clear (): void {
    this.#map.clear()
  }

  keys (): IterableIterator<K> { return this.#map.keys() }

  values (): IterableIterator<V> { return this.#map.values() }

  [Symbol.iterator] (): IterableIterator<[K, V]> { return this.#map[Symbol.iterator]() }

  #renew (): void {
    this.#removals = 0
    this.#map = new Map(this.#map)
  }
}

/** A `Set` for what comes and goes with every message. Members that leave while it is iterated may still be seen: iterate a copy. */
export class BusySet<T> {
  #set = new Set<T>()
  #removals = 0

  get size (): number { return this.#set.size }

  has (member: T): boolean { return this.#set.has(member) }

  add (member: T): void {
    this.#set.add(member)
  }

  delete (member: T): boolean {
    if (!this.#set.delete(member)) return false
    if (++this.#removals > RENEW_AFTER + this.#set.size) this.#renew()
    return true
  }

  clear (): void {
    this.#set.clear()
  }

  [Symbol.iterator] (): IterableIterator<T> { return this.#set[Symbol.iterator]() }

  #renew (): void {
    this.#removals = 0
    this.#set = new Set(this.#set)
  }
}
