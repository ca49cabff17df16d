import { decodeHeaderValue, findSpan, foldName, repeatableAt, scanObject, type Message, type ParamHeader } from '@mcp-proxy/protocol'
import type { FastifyRequest } from 'fastify'
import { singleHeader } from './single-header.js'

const INTEGER = /^-?\d+(?:\.0+)?$/

/** What is wrong with the headers of a call; `undefined` when they repeat its arguments. Values are not told: what is told is logged. */
export function findParamMismatch (request: FastifyRequest, message: Message, params: readonly ParamHeader[]): string | undefined {
  for (const { name, path } of params) {
    const header = singleHeader(request, name)
    const value = repeatableAt(message.params?.['arguments'], path)
    const where = `params.arguments.${path.join('.')}`
    if (value === undefined) {
      // null, or nothing, or what no header can say
      if (header !== undefined) return `the ${name} header repeats nothing, since ${where} has no such value`
      continue
    }
    if (header === undefined) return `the ${name} header is missing, which repeats ${where}`
    if (header === null) return `the ${name} header is repeated`
    const said = decodeHeaderValue(header)
    if (said === undefined) return `the ${name} header has invalid characters`
    if (!says(said, value)) return `the ${name} header does not match ${where}`
    if (!standsOnce(message, path)) return `${where} stands twice in the body`
  }
  return undefined
}

function says (said: string, value: string | number | boolean): boolean {
  if (said === String(value)) return true
  return typeof value === 'number' && INTEGER.test(said) && Number(said) === value
}

/** A member of which there are two may be another to the server than the one that was compared. */
function standsOnce ({ bytes }: Message, path: readonly string[]): boolean {
  const whole = ['params', 'arguments', ...path]
  return whole.every((name, depth) => {
    const start = depth === 0 ? undefined : findSpan(bytes, whole.slice(0, depth))?.start
    const folded = foldName(name)
    let count = 0
    scanObject(bytes, start ?? 0, (member) => { if (foldName(member) === folded) count++ })
    return depth === 0 || count === 1
  })
}
