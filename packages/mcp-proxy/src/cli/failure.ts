import { SettingError } from '../settings.js'

/** What is said to people about the error that ends the binary, with the last lines of the command where there are some. */
export function describeFailure (error: unknown): string {
  const lines = lastWords(error).map(line => `  | ${line}\n`)
  return `mcp-proxy: ${explain(error)}\n${lines.length === 0 ? '' : `The last lines it wrote to stderr:\n${lines.join('')}`}`
}

/** Whether it is the command line that is wrong. */
export function isUsage (error: unknown): boolean {
  return error instanceof SettingError || (error instanceof Error && 'code' in error && (error.code === 'MCP_ERR_OPTION' || error.code === 'MCP_ERR_COMMAND'))
}

/** In one line what is wrong, and what helps. */
export function explain (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return `${error.message.replace(/^listen EADDRINUSE: /, '')}. Stop what uses it, or choose another with --port`
  if (code === 'EACCES') return `${error.message}. Ports below 1024 need rights: choose another with --port`
  return error.message
}

/** The last lines that a command has written to stderr. */
export function lastWords (error: unknown): readonly string[] {
  return error instanceof Error && 'stderr' in error && Array.isArray(error.stderr) ? error.stderr : []
}
