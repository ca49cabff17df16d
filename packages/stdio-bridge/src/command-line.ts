import { mcpError } from '@mcp-proxy/protocol'

/**
 * Splits a command line into words as a POSIX shell quotes them, and does nothing else that a shell does: no variables,
 * no globs, no operators, so text in it can never run another program. On Windows a backslash is a path separator.
 * @throws MCP_ERR_COMMAND for a quote that is not closed
 */
export function splitCommandLine (line: string, windows: boolean = process.platform === 'win32'): string[] {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let at = 0; at < line.length; at++) {
    const char = line.charAt(at)
    if (char === '\\' && quote !== "'" && !windows && at + 1 < line.length) {
      const next = line.charAt(++at)
      // between double quotes a backslash quotes only what is special there
      word = (word ?? '') + (quote === '"' && !'"\\$`'.includes(next) ? char + next : next)
    } else if (quote !== '') {
      if (char === quote) quote = ''
      else word += char
    } else if (char === '"' || (char === "'" && !windows)) {
      quote = char
      word ??= ''
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else {
      word = (word ?? '') + char
    }
  }
  if (quote !== '') throw mcpError('MCP_ERR_COMMAND', `a ${quote} is not closed`)
  if (word !== undefined) words.push(word)
  return words
}
