/**
 * JSON text in which the order of members does not matter: they are sorted by name. Not recursive, since what a client
 * sends may be nested deeper than the stack.
 */
export function canonicalJson (value: unknown): string {
  const parts: string[] = []
  const open: Array<Text | Value> = [{ value }]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if ('text' in next) parts.push(next.text)
    else if (Array.isArray(next.value)) push(open, '[', next.value.map((value: unknown) => ({ name: '', value })), ']')
    else if (next.value !== null && typeof next.value === 'object') push(open, '{', sortedMembers(next.value), '}')
    else parts.push(JSON.stringify(next.value))
  }
  return parts.join('')
}

interface Text { readonly text: string }
interface Value { readonly value: unknown }
interface Member extends Value { readonly name: string }

/** In reverse, as a stack gives them back. */
function push (open: Array<Text | Value>, start: string, members: readonly Member[], end: string): void {
  open.push({ text: end })
  for (let index = members.length - 1; index >= 0; index--) {
    const { name, value } = members[index] as Member
    open.push({ value }, { text: index === 0 ? name : `,${name}` })
  }
  open.push({ text: start })
}

function sortedMembers (object: object): Member[] {
  return Object.entries(object as Record<string, unknown>)
    .filter(([, value]) => value !== undefined)
    .sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, value]) => ({ name: `${JSON.stringify(name)}:`, value }))
}
