import { readFileSync } from 'node:fs'
import { isObject } from '@mcp-proxy/protocol'
import { SettingError } from '../settings.js'
import { readEntry, type ServerEntry } from './entry.js'

/** What a configuration file asks for. */
export interface Config {
  /** Servers to run, by name. */
  readonly entries: ReadonlyMap<string, ServerEntry>
  /** Entries that cannot be used, and why, by name. */
  readonly broken: ReadonlyMap<string, SettingError>
}

/** A segment of a path that no client and no proxy writes in another way. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._~-]{0,63}$/

/** The text of the file. @throws SettingError */
export function readConfigFile (file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    throw new SettingError(`${file} cannot be read: ${code}`)
  }
}

/**
 * Reads the `mcpServers` that desktop clients have in their configuration. What is wrong with one of them breaks no
 * other.
 * @throws SettingError where there is no such object at all
 */
export function parseConfig (text: string, environment: NodeJS.ProcessEnv): Config {
  const servers = readServers(text)
  const entries = new Map<string, ServerEntry>()
  const broken = new Map<string, SettingError>()
  for (const [name, given] of Object.entries(servers)) {
    if (isObject(given) && given['disabled'] === true) continue
    try {
      if (!NAME.test(name)) throw new SettingError('the name becomes part of a URL: up to 64 letters, digits and . _ ~ -, a letter or digit first')
      entries.set(name, readEntry(given, environment))
    } catch (error) {
      if (!(error instanceof SettingError)) throw error
      broken.set(name, error)
    }
  }
  return { entries, broken }
}

function readServers (text: string): Readonly<Record<string, unknown>> {
  const config = parseJson(text)
  const servers: unknown = isObject(config) ? config['mcpServers'] : undefined
  if (!isObject(servers)) throw new SettingError('the configuration must be an object with an object "mcpServers"')
  return servers
}

function parseJson (text: string): unknown {
  try {
    // editors of some systems write a byte order mark
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    // the message of the parser shows a part of the text, which may be a secret: its position has to do
    const at = /position (\d+)/.exec(error instanceof Error ? error.message : '')?.[1]
    throw new SettingError(`the configuration is not JSON${at === undefined ? '' : `: look at line ${text.slice(0, Number(at)).split('\n').length}`}`)
  }
}
