import { Message, isObject, readParamHeaders, repeatableAt, encodeHeaderValue, type FastifyBaseLogger, type ParamHeader } from '@mcp-proxy/protocol'

/** Tools of which it is remembered what their calls repeat in headers. */
const MAX_TOOLS = 10_000
const MAX_PRINCIPALS = 1_000
const ANNOTATION = 'x-mcp-header'

/** What calls of tools repeat in headers, as the lists say that a principal has seen. */
export class ToolParams {
  readonly #tools = new Map<string, readonly ParamHeader[]>()

  /**
   * Learns from an answer to `tools/list`, and returns it without the tools whose annotations are invalid (2026-07-28,
   * "Streamable HTTP", Custom Headers from Tool Parameters). Answers without annotations are not looked into.
   */
  learn (answer: Message, log: FastifyBaseLogger): Message {
    if (answer.failed || (this.#tools.size === 0 && !answer.bytes.includes(ANNOTATION))) return answer
    const tools = answer.result?.['tools']
    if (!Array.isArray(tools)) return answer
    const valid = (tools as unknown[]).filter(tool => this.#learnTool(tool, log))
    return valid.length === tools.length ? answer : answer.edit(['result'], { tools: JSON.stringify(valid) })
  }

  /** The headers of a `tools/call`. */
  headersOf (call: Message): Record<string, string> {
    const name = call.params?.['name']
    const params = typeof name === 'string' ? this.#tools.get(name) ?? [] : []
    return Object.fromEntries(params.flatMap(({ name, path }) => {
      const value = repeatableAt(call.params?.['arguments'], path)
      return value === undefined ? [] : [[name, encodeHeaderValue(String(value))]]
    }))
  }

  #learnTool (tool: unknown, log: FastifyBaseLogger): boolean {
    if (!isObject(tool) || typeof tool['name'] !== 'string') return true
    const { name } = tool
    const params = readParamHeaders(tool['inputSchema'])
    this.#tools.delete(name)
    if (params === undefined) {
      log.warn({ tool: name }, 'left out a tool whose x-mcp-header annotations are invalid')
      return false
    }
    if (params.length > 0 && this.#tools.size < MAX_TOOLS) this.#tools.set(name, params)
    return true
  }
}

/** The tools that each principal sees: those who were served last are remembered. */
export class ToolParamsByPrincipal {
  readonly #all = new Map<string | undefined, ToolParams>()

  of (principal: string | undefined): ToolParams {
    const found = this.#all.get(principal) ?? new ToolParams()
    this.#all.delete(principal)
    this.#all.set(principal, found)
    if (this.#all.size > MAX_PRINCIPALS) this.#all.delete(this.#all.keys().next().value)
    return found
  }
}
