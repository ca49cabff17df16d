import { pino } from 'pino'
import { startStdioServer } from '../start-stdio-server.js'
import { SettingError, type Settings } from '../settings.js'
import { EXIT } from './exit.js'
import type { RemoteServerOptions } from '@mcp-proxy/remote'
import type { StdioFace } from '../stdio-face/stdio-face.js'

/** Runs the binary the other way round: stdio is served, by the MCP server at a URL, until stdin ends or a signal comes. */
export async function connect (settings: Settings, url: string): Promise<void> {
  // stdout belongs to MCP; hosts show stderr to people
  const log = pino({ level: settings.debug === true ? 'debug' : 'warn' }, pino.destination({ dest: 2, sync: true }))
  let face: StdioFace
  try {
    face = startStdioServer({
      url,
      headers: readHeaders(settings.header ?? []),
      era: settings['upstream-era'] as RemoteServerOptions['era'],
      requestTimeout: settings['request-timeout'],
      maxMessageBytes: settings['max-message-bytes'],
      maxCalls: settings['max-pending-calls'],
      closeGrace: settings['close-grace'],
      log,
    })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'MCP_ERR_OPTION') throw new SettingError(error.message)
    throw error
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => { void face.close() })
  await face.ended
  // an open stdin would hold the process
  process.exit(EXIT.ok)
}

/** Values are secrets: no error repeats one. @throws SettingError */
function readHeaders (lines: readonly string[]): Record<string, string> {
  const headers = new Headers()
  for (const line of lines) {
    const [, name = '', value = ''] = /^([^:]+):(.*)$/s.exec(line) ?? []
    try {
      headers.append(name.trim(), value.trim())
    } catch {
      throw new SettingError(name === '' ? '--header must be "name: value"' : `--header ${JSON.stringify(name.trim())} is no header, or its value cannot stand in one`)
    }
  }
  return Object.fromEntries(headers)
}
