import { readFileSync } from 'node:fs'
import module from 'node:module'
import { SettingError } from '../settings.js'
import { readArguments } from './arguments.js'
import { EXIT } from './exit.js'
import { keepGarbageYoung } from './garbage.js'

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
      keepCompiledCode()
      await (await import('./serve.js')).serveCommand(invocation.settings, invocation.command)
      return
    case 'serveConfig':
      keepCompiledCode()
      await (await import('./serve.js')).serveConfig(invocation.settings, invocation.config)
  }
}

/** Node 22.8 and later keep compiled code between runs. */
function keepCompiledCode (): void {
  if ('enableCompileCache' in module && typeof module.enableCompileCache === 'function') module.enableCompileCache()
}
