import type { IncomingMessage } from 'node:http'

/** Says from which connection a request comes that one worker passes on to another. */
const HEADER = 'mcp-proxy-connection'

const forwarded = new WeakSet<IncomingMessage>()

/** Headers that are about one connection only, and what asks for an answer before the answer. */
const OF_ONE_HOP: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'expect', HEADER])

/** The headers of a message for the next connection, as a flat list of names and values. */
export function headersToPass (rawHeaders: readonly string[], alsoWithout?: string): string[] {
  const headers: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2)
    const lower = name.toLowerCase()
    if (!OF_ONE_HOP.has(lower) && lower !== alsoWithout) headers.push(name, value)
  }
  return headers
}

/** The header that describes the connection of a request. */
export function connectionHeader ({ socket: { localAddress = '', remoteAddress = '', remotePort = 0 } }: IncomingMessage): [name: string, value: string] {
  return [HEADER, `${localAddress} ${remoteAddress} ${remotePort}`]
}

/**
 * Gives a request that was passed on the addresses of its client's connection: guards go by them. Only for a private
 * socket, where none but a worker can say so; such a connection carries one request at a time.
 */
export function restoreConnection (request: IncomingMessage): void {
  const { [HEADER]: header } = request.headers
  forwarded.add(request)
  delete request.headers[HEADER]
  const [localAddress = '', remoteAddress = '', remotePort = ''] = typeof header === 'string' ? header.split(' ') : []
  Object.defineProperties(request.socket, {
    localAddress: { value: localAddress, configurable: true },
    remoteAddress: { value: remoteAddress, configurable: true },
    remotePort: { value: Number(remotePort), configurable: true },
  })
}

/** Whether a request was passed on: it is never passed on again. */
export function isForwarded (request: IncomingMessage): boolean {
  return forwarded.has(request)
}
