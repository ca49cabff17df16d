import { mcpError } from '@mcp-proxy/protocol'

/** Stands between the name of a server and that of its tool or prompt. */
export const DEFAULT_SEPARATOR = '__'

/** What hosts and models take in the name of a tool. */
const PART = /^[A-Za-z0-9_.-]+$/

/** Names of tools and prompts of several servers, told apart by what they begin with. */
export class Names {
  readonly #prefixes: ReadonlyMap<string, string>

  /** @throws MCP_ERR_OPTION where a name could be two servers' */
  constructor (servers: readonly string[], separator: string = DEFAULT_SEPARATOR) {
    checkNames(servers, separator)
    this.#prefixes = new Map(servers.map(name => [name, name + separator]))
  }

  prefix (server: string): string {
    return this.#prefixes.get(server) ?? ''
  }

  /** The server that a name belongs to, and what it is called there. */
  split (name: string): { readonly server: string, readonly own: string } | undefined {
    for (const [server, prefix] of this.#prefixes) if (name.startsWith(prefix)) return { server, own: name.slice(prefix.length) }
    return undefined
  }
}

/** @throws MCP_ERR_OPTION where a name could be two servers' */
export function checkNames (servers: readonly string[], separator: string = DEFAULT_SEPARATOR): void {
  if (!PART.test(separator)) throw mcpError('MCP_ERR_OPTION', 'separator', 'letters, digits or _ . -', JSON.stringify(separator))
  for (const [index, name] of servers.entries()) {
    if (!PART.test(name)) throw mcpError('MCP_ERR_OPTION', 'name', 'letters, digits and _ . -', JSON.stringify(name))
    const other = servers.find((other, at) => at !== index && `${other}${separator}`.startsWith(name + separator))
    if (other !== undefined) throw mcpError('MCP_ERR_OPTION', 'name', `told from the others by what stands before ${JSON.stringify(separator)}`, `${JSON.stringify(name)} beside ${JSON.stringify(other)}`)
  }
}
