import { readFileSync } from 'node:fs'
import module from 'node:module'
import { SettingError, type Settings } from '../settings.js'
import { readArguments } from './arguments.js'
import { EXIT } from './exit.js'
import { keepGarbageYoung } from './garbage.js'
import type { Target } from './service.js'

// everything heavy is imported when it is needed: `--version` has to answer at once
try {
  await run()
} catch (error) {
  if (!(error instanceof SettingError)) throw error
  process.stderr.write(`mcp-proxy: ${error.message}\nTry mcp-proxy --help\n`)
  process.exitCode = EXIT.usage
}

async function run (): Promise<void> {
  keepGarbageYoung()
  const invocation = readArguments(process.argv.slice(2), process.env)
  switch (invocation.action) {
    case 'version': {
      const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
      process.stdout.write(`${version}\n`)
      return
    }
    case 'help':
      process.stdout.write((await import('./help.js')).helpText())
      return
    case 'connect':
      keepCompiledCode()
      await (await import('./connect.js')).connect(invocation.settings, invocation.url)
      return
    case 'serve':
      await serve(invocation.settings, { command: invocation.command })
      return
    case 'serveConfig':
      await serve(invocation.settings, { file: invocation.config })
  }
}

async function serve (settings: Settings, target: Target): Promise<void> {
  keepCompiledCode()
  if ((settings.workers ?? 1) > 1) await (await import('../workers/primary.js')).servePrimary(settings, target)
  else await (await import('./serve.js')).serve(settings, target)
}

/** Node 22.8 and later keep compiled code between runs. */
function keepCompiledCode (): void {
  if ('enableCompileCache' in module && typeof module.enableCompileCache === 'function') module.enableCompileCache()
}
