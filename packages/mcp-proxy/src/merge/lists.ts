import { findSpan, isObject, splitArray, type Message } from '@mcp-proxy/protocol'
import { readResult } from './handshake.js'

/** What a list has in it. */
export interface ListKind {
  /** The capability of servers that have such a list. */
  readonly capability: string
  /** The member of the result that holds the items. */
  readonly member: string
  /** The member that names an item. */
  readonly key: 'name' | 'uri' | 'uriTemplate'
}

export const LISTS: ReadonlyMap<string, ListKind> = new Map([
  ['tools/list', { capability: 'tools', member: 'tools', key: 'name' }],
  ['prompts/list', { capability: 'prompts', member: 'prompts', key: 'name' }],
  ['resources/list', { capability: 'resources', member: 'resources', key: 'uri' }],
  ['resources/templates/list', { capability: 'resources', member: 'resourceTemplates', key: 'uriTemplate' }],
])

export interface ListItem {
  /** Its name, URI or template. */
  readonly key: string
  /** The item as JSON text, as the server has written it. */
  readonly text: string
}

export interface ListPage {
  readonly items: readonly ListItem[]
  readonly nextCursor: string | undefined
}

/** The items of a server's answer, each with its bytes; `undefined` when it is no list. */
export function readPage (answer: Message, { member, key }: ListKind): ListPage | undefined {
  const result = readResult(answer)
  const values: unknown = result?.[member]
  if (!Array.isArray(values)) return undefined
  const span = findSpan(answer.bytes, ['result', member])
  const parts = span === undefined ? [] : splitArray(answer.bytes.subarray(span.start, span.end))
  const items = values.flatMap((value: unknown, index): ListItem[] => {
    const name = isObject(value) ? value[key] : undefined
    const part = parts.length === values.length ? parts[index]?.toString() : JSON.stringify(value)
    return typeof name === 'string' && part !== undefined ? [{ key: name, text: part }] : []
  })
  const nextCursor = result?.['nextCursor']
  return { items, nextCursor: typeof nextCursor === 'string' ? nextCursor : undefined }
}

/** An item under another name; all else keeps its bytes. */
export function rename (text: string, name: string): string {
  const bytes = Buffer.from(text)
  const span = findSpan(bytes, ['name'])
  if (span === undefined) return text
  return `${bytes.toString('utf8', 0, span.start)}${JSON.stringify(name)}${bytes.toString('utf8', span.end)}`
}
