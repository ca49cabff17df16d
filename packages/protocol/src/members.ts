import { findSpan, scanObject, skipSpace, type Span } from './scan.js'
import type { Place } from './splice.js'

/** Members of an object by name, as JSON text; `undefined` takes a member out. */
export type Members = Readonly<Record<string, string | undefined>>

/**
 * Sets and takes out members of the object at a path; the objects on the way are made where they are missing. All other
 * members keep their bytes and their order. `undefined` when a value on the way is no object.
 * @param start where the object that the path starts from stands
 */
export function placeMembers (bytes: Buffer, path: readonly string[], members: Members, start: number = skipSpace(bytes, 0)): Place | undefined {
  const [name, ...rest] = path
  return name === undefined ? placeIn(bytes, start, members) : descend(bytes, start, name, rest, members)
}

function descend (bytes: Buffer, start: number, name: string, rest: readonly string[], members: Members): Place | undefined {
  const span = findSpan(bytes, [name], start)
  if (span === undefined) {
    const text = newObject(rest, members)
    return text === undefined ? undefined : prependMembers(bytes, start, `${JSON.stringify(name)}:${text}`)
  }
  const [next, ...below] = rest
  return next === undefined ? placeIn(bytes, span.start, members) : descend(bytes, span.start, next, below, members)
}

/** An object for a path that does not exist; `undefined` when nothing would be in it. */
function newObject (path: readonly string[], members: Members): string | undefined {
  const set = membersText(members)
  return set === '' ? undefined : path.reduceRight((text, name) => `{${JSON.stringify(name)}:${text}}`, `{${set}}`)
}

/** From the first member that changes to the last: what stands before and behind, which may be large, is not copied. */
function placeIn (bytes: Buffer, start: number, members: Members): Place | undefined {
  const kept: string[] = []
  const behind: Array<Span & { readonly name: string }> = []
  let from: number | undefined
  let to = start + 1
  let last = start + 1
  const keep = (): void => {
    for (const { name, start, end } of behind.splice(0)) kept.push(`${JSON.stringify(name)}:${bytes.toString('utf8', start, end)}`)
  }
  const end = scanObject(bytes, start, (name, valueStart, valueEnd) => {
    // by the name as it is read: two spellings of one name are one
    if (Object.hasOwn(members, name)) {
      from ??= last
      to = valueEnd
      keep()
    } else if (from !== undefined) {
      behind.push({ name, start: valueStart, end: valueEnd })
    }
    last = valueEnd
  })
  const set = membersText(members)
  if (end === -1 || (from === undefined && set === '')) return undefined
  from ??= last
  if (set !== '') {
    keep()
    kept.push(set)
    to = end - 1
  }
  const text = kept.join(',')
  if (from > start + 1) return { start: from, end: to, text: kept.length > 0 ? `,${text}` : '' }
  // the comma that stands before the rest becomes ours
  if (behind.length > 0) return { start: from, end: skipSpace(bytes, skipSpace(bytes, to) + 1), text: kept.length > 0 ? `${text},` : '' }
  return { start: from, end: to, text }
}

/**
 * Puts members before all others of the object that starts at an offset. Nothing behind that offset is looked at, so
 * this costs the same for a large object as for a small one; the object must not have these members yet.
 * @param set what {@link membersText} makes
 */
export function prependMembers (bytes: Buffer, start: number, set: string): Place | undefined {
  if (bytes[start] !== 0x7b) return undefined
  const empty = bytes[skipSpace(bytes, start + 1)] === 0x7d
  return { start: start + 1, end: start + 1, text: empty || set === '' ? set : `${set},` }
}

/** The members that are set as they stand in JSON, between the braces. */
export function membersText (members: Members): string {
  let set = ''
  for (const name in members) {
    const text = members[name]
    if (text !== undefined) set += `${set === '' ? '' : ','}${JSON.stringify(name)}:${text}`
  }
  return set
}
