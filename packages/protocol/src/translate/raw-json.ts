import { splice } from '../splice.js'
import { placeMembers, type Members } from '../members.js'
import { findSpan, scanObject, skipSpace } from '../scan.js'

/** The JSON text of the value at a path of a JSON text; `undefined` where there is none. */
export function textAt (text: string, path: readonly string[]): string | undefined {
  const bytes = Buffer.from(text)
  const span = findSpan(bytes, path)
  return span === undefined ? undefined : bytes.toString('utf8', span.start, span.end)
}

/** The same JSON text with members set or taken out of the object at a path; all others keep their bytes. */
export function editText (text: string, path: readonly string[], members: Members): string {
  const bytes = Buffer.from(text)
  const place = placeMembers(bytes, path, members)
  return place === undefined ? text : splice(bytes, [place]).toString()
}

/** The members of an object, as JSON text by name, in their order. The last of equal names counts. */
export function membersOf (text: string): Map<string, string> {
  const bytes = Buffer.from(text)
  const members = new Map<string, string>()
  scanObject(bytes, skipSpace(bytes, 0), (name, start, end) => { members.set(name, bytes.toString('utf8', start, end)) })
  return members
}
