import { SETTINGS, settingNames } from '../settings.js'

/** The text of `--help`. */
export function helpText (): string {
  const rows = settingNames().map((name) => {
    const setting: { help: string, value?: string, short?: string, default?: string } = SETTINGS[name]
    const flag = `${setting.short === undefined ? '    ' : `-${setting.short}, `}--${name}${setting.value === undefined ? '' : ` ${setting.value}`}`
    return [flag, setting.help + (setting.default === undefined ? '' : ` (default ${setting.default})`)] as const
  })
  rows.push(['-h, --help', 'this text'], ['-v, --version', 'the version'])
  const width = Math.max(...rows.map(([flag]) => flag.length))
  return `Serves an MCP server that speaks stdio over HTTP: SSE and Streamable HTTP. Or, with --connect, one at a URL over stdio.

Usage: mcp-proxy [flags] [--] command [arguments]
       mcp-proxy [flags] --config mcp.json
       mcp-proxy [flags] --connect URL

Example: mcp-proxy --port 8080 --user-id user123 npx -y @modelcontextprotocol/server-everything

Flags, each also as a variable (--user-id is MCP_PROXY_USER_ID, lists with commas, headers with line breaks):
${rows.map(([flag, help]) => `  ${flag.padEnd(width)}  ${help}`).join('\n')}

Exit codes: 0 stopped by a signal, 1 unexpected, 2 bad flag, 3 cannot listen, 4 the command does not run.
`
}
