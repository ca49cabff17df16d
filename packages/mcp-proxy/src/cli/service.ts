import { describeFailures, describeServer, describeServers } from '../banner.js'
import { mcpProxy } from '../plugin.js'
import { pluginOptions } from '../plugin-options.js'
import type { McpBridge } from '@mcp-proxy/stdio-bridge'
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

/** A command that is being started already. */
export interface Early {
  readonly bridge: McpBridge
  /** Settles when it runs, or does not. */
  readonly started: Promise<void>
}

export function serviceOf (target: Target, settings: Settings, own: OwnOptions = {}, early?: Early): Service {
  return 'file' in target ? serviceOfConfig(target.file, settings, own) : serviceOfCommand(target.command, settings, own, early)
}

function serviceOfCommand (command: readonly string[], settings: Settings, own: OwnOptions, early: Early | undefined): Service {
  return {
    register: async (app) => {
      const { command: _, ...options } = pluginOptions(settings, command)
      if (early !== undefined) {
        app.decorate('mcpBridge', early.bridge)
        app.addHook('onClose', () => early.bridge.close())
      }
      await app.register(mcpProxy, { ...options, ...own, command: early === undefined ? command : undefined })
    },
    start: async (app, failed) => {
      await (early?.started ?? app.mcpBridge.start()).catch((error: unknown) => failed(error, EXIT.command))
      return address => describeServer(address, settings)
    },
  }
}

/** Servers that fail keep none of the others from being served. */
function serviceOfConfig (file: string, settings: Settings, own: OwnOptions): Service {
  return {
    register: async (app) => {
      const { mcpServers } = await import('../config/plugin.js')
      await app.register(mcpServers, { file, settings, own })
    },
    start: async (app, failed) => {
      const reports = await app.mcpServers.started
      if (reports.length > 0 && reports.every(({ error }) => error !== undefined)) await failed(new Error(`none of the servers of ${file} runs\n${describeFailures(reports)}`), EXIT.command)
      return address => describeServers(address, settings, reports)
    },
  }
}
