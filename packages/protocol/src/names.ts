/** Names of members that most messages have. */
export const KNOWN_NAMES: readonly string[] = [
  'jsonrpc', 'id', 'method', 'params', 'result', 'error', '_meta', 'progressToken', 'requestId', 'name', 'arguments', 'uri', 'cursor',
  'code', 'message', 'data', 'content', 'structuredContent', 'isError', 'resultType', 'progress', 'total', 'level', 'logger',
  'io.modelcontextprotocol/protocolVersion', 'io.modelcontextprotocol/clientInfo', 'io.modelcontextprotocol/clientCapabilities',
]

interface Known { readonly bytes: Buffer, readonly text: string }

const byLength: ReadonlyArray<readonly Known[]> = Array.from({ length: 64 }, (_, length) =>
  KNOWN_NAMES.filter(text => text.length === length).map(text => ({ bytes: Buffer.from(text), text })))

/**
 * The text of a name that stands between two offsets, if it is one that most messages have: comparing bytes is cheaper
 * than making a string, and a string that is there already has its hash.
 */
export function knownName (bytes: Buffer, start: number, end: number): string | undefined {
  const candidates = byLength[end - start]
  if (candidates === undefined) return undefined
  for (const { bytes: known, text } of candidates) if (equals(bytes, start, known)) return text
  return undefined
}

function equals (bytes: Buffer, start: number, known: Buffer): boolean {
  // names of one length mostly differ at their ends
  for (let at = known.length - 1; at >= 0; at--) if (bytes[start + at] !== known[at]) return false
  return true
}
