import { resolve } from 'node:path'
import type { RemoteServerOptions } from '@mcp-proxy/remote'
import type { EndpointsOptions, McpProxyOptions } from '../plugin.js'
import { pluginOptions } from '../plugin-options.js'
import type { Settings } from '../settings.js'
import type { CommandEntry, UrlEntry } from './entry.js'

/** The options of the plugin for one command: its own settings over those of all. @throws SettingError */
export function commandOptions (name: string, entry: CommandEntry, settings: Settings): McpProxyOptions {
  // each server has its keys in its entry: those of others, which the proxy's own environment may hold, are not its business
  const all = { environment: ['safe'], ...settings, ...entry.own }
  const cwd = entry.cwd === undefined ? settings.cwd : resolve(settings.cwd ?? '', entry.cwd)
  return { ...pluginOptions(all, entry.command), name, env: entry.env, cwd }
}

/** What the endpoints before a server elsewhere take. @throws SettingError */
export function endpointsOptions (entry: UrlEntry, settings: Settings): EndpointsOptions {
  const { command: _, ...options } = pluginOptions({ ...settings, ...entry.own }, [])
  return options
}

/** How a server elsewhere is reached. */
export function remoteOptions (name: string, { url, transport, headers, own }: UrlEntry, settings: Settings): RemoteServerOptions {
  const all = { ...settings, ...own }
  return {
    url,
    transport,
    headers,
    name,
    era: all['upstream-era'] as RemoteServerOptions['era'],
    requestTimeout: all['request-timeout'],
    maxMessageBytes: all['max-message-bytes'],
    maxCalls: all['max-pending-calls'],
  }
}
