import { resolve } from 'node:path'
import type { McpProxyOptions } from '../plugin.js'
import { pluginOptions } from '../plugin-options.js'
import type { Settings } from '../settings.js'
import type { CommandEntry } from './entry.js'

/** The options of the plugin for one command: its own settings over those of all. @throws SettingError */
export function commandOptions (name: string, entry: CommandEntry, settings: Settings): McpProxyOptions {
  // each server has its keys in its entry: those of others, which the proxy's own environment may hold, are not its business
  const all = { environment: ['safe'], ...settings, ...entry.own }
  const cwd = entry.cwd === undefined ? settings.cwd : resolve(settings.cwd ?? '', entry.cwd)
  return { ...pluginOptions(all, entry.command), name, env: entry.env, cwd }
}
