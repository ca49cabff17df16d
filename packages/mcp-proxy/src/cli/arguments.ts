import { parseArgs, type ParseArgsConfig } from 'node:util'
import { SETTINGS, SettingError, assign, settingNames, settingsFromEnvironment, type SettingName, type Settings } from '../settings.js'

/** What a command line asks for. */
export type Invocation =
  | { readonly action: 'help' | 'version' }
  | { readonly action: 'connect', readonly settings: Settings, readonly url: string }
  | { readonly action: 'serve', readonly settings: Settings, readonly command: readonly string[] }
  | { readonly action: 'serveConfig', readonly settings: Settings, readonly config: string }

/** Flags by which somebody shows that stdio is not what is meant. */
const ABOUT_HTTP = ['port', 'host', 'server', 'endpoint', 'config', 'user-id', 'workers'] as const

/**
 * Reads the command line. The proxy's own flags stand before the command; from its first word on everything belongs to
 * the command, with or without `--` before it. Flags win over `MCP_PROXY_*` variables.
 * @throws SettingError
 */
export function readArguments (argv: readonly string[], environment: NodeJS.ProcessEnv): Invocation {
  const options = parseOptions()
  // a first pass that tolerates all: where do the proxy's own flags end?
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true })
  const first = tokens.find(token => token.kind === 'positional' || token.kind === 'option-terminator')
  const own = first === undefined ? argv : argv.slice(0, first.index)
  const command = first === undefined ? [] : argv.slice(first.kind === 'positional' ? first.index : first.index + 1)

  const values = parseOwn(own, options)
  if (values['help'] === true) return { action: 'help' }
  if (values['version'] === true) return { action: 'version' }
  const settings = settingsFromEnvironment(environment)
  for (const name of settingNames()) if (values[name] !== undefined) assign(settings, name, values[name])
  const { connect, config } = settings
  if (connect !== undefined) {
    if (command.length > 0) throw new SettingError('--connect and a command are both given: either serves, --connect the server at a URL over stdio, a command over HTTP')
    const useless = ABOUT_HTTP.find(name => values[name] !== undefined)
    if (useless !== undefined) throw new SettingError(`--${useless} is about serving over HTTP: with --connect stdio is served`)
    return { action: 'connect', settings, url: connect }
  }
  if (settings.header !== undefined) throw new SettingError('--header is about the server of --connect, which is not given')
  if (config !== undefined && command.length > 0) throw new SettingError(`--config (MCP_PROXY_CONFIG) names servers, and ${JSON.stringify(command[0])} is a command: give one of them`)
  if (config !== undefined) return { action: 'serveConfig', settings, config }
  if (command.length === 0) throw new SettingError('no command to serve: mcp-proxy [flags] command [arguments], or mcp-proxy --config mcp.json, or mcp-proxy --connect URL')
  return { action: 'serve', settings, command }
}

function parseOwn (args: readonly string[], options: NonNullable<ParseArgsConfig['options']>): Record<string, unknown> {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowNegative: true }).values
  } catch (error) {
    // "Unknown option '--prot'. To specify a positional argument …": the first sentence is what helps
    throw new SettingError(error instanceof Error ? error.message.split(/\. |\n/, 1).join('') : String(error))
  }
}

function parseOptions (): NonNullable<ParseArgsConfig['options']> {
  const options: NonNullable<ParseArgsConfig['options']> = {
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean', short: 'v' },
  }
  for (const name of settingNames()) options[name] = parseOption(name)
  return options
}

function parseOption (name: SettingName): NonNullable<ParseArgsConfig['options']>[string] {
  const setting: { kind: string, short?: string } = SETTINGS[name]
  return {
    type: setting.kind === 'boolean' ? 'boolean' : 'string',
    ...(setting.kind === 'list' && { multiple: true }),
    ...(setting.short !== undefined && { short: setting.short }),
  }
}
