import { describeFailures, describeServer, describeServers } from '../banner.js'
import { mcpServers } from '../config/plugin.js'
import { mcpProxy } from '../plugin.js'
import { pluginOptions } from '../plugin-options.js'
import type { FastifyInstance } from 'fastify'
import type { OwnOptions } from '../config/served.js'
import type { Settings } from '../settings.js'
import { EXIT } from './exit.js'

/** What the binary is asked to serve: one command, or the servers of a file. */
export type Target = { readonly command: readonly string[] } | { readonly file: string }

/** Ends the process, with this exit code and the error's own words. */
export type Failed = (error: unknown, code: number) => Promise<void>

/** What is served, as the app that serves it sees it. */
export interface Service {
  readonly register: (app: FastifyInstance) => Promise<void>
  /** Resolves when it is known what runs, with what to say then. */
  readonly start: (app: FastifyInstance, failed: Failed) => Promise<(address: string) => string>
}

export function serviceOf (target: Target, settings: Settings, own: OwnOptions = {}): Service {
  return 'file' in target ? serviceOfConfig(target.file, settings, own) : serviceOfCommand(target.command, settings, own)
}

function serviceOfCommand (command: readonly string[], settings: Settings, own: OwnOptions): Service {
  return {
    register: async (app) => { await app.register(mcpProxy, { ...pluginOptions(settings, command), ...own }) },
    start: async (app, failed) => {
      await app.mcpBridge.start().catch((error: unknown) => failed(error, EXIT.command))
      return address => describeServer(address, settings)
    },
  }
}

/** Servers that fail keep none of the others from being served. */
function serviceOfConfig (file: string, settings: Settings, own: OwnOptions): Service {
  return {
    register: async (app) => { await app.register(mcpServers, { file, settings, own }) },
    start: async (app, failed) => {
      const reports = await app.mcpServers.started
      if (reports.length > 0 && reports.every(({ error }) => error !== undefined)) await failed(new Error(`none of the servers of ${file} runs\n${describeFailures(reports)}`), EXIT.command)
      return address => describeServers(address, settings, reports)
    },
  }
}
