import t from 'tap'
import { readArguments } from '../dist/cli/arguments.js'
import { SETTINGS, settingNames, type Settings } from '../dist/settings.js'

/** What the binary would serve. */
function serving (argv: readonly string[], environment: NodeJS.ProcessEnv = {}): { settings: Settings, command: readonly string[] } {
  const invocation = readArguments(argv, environment)
  if (invocation.action !== 'serve') throw new Error(`it would do ${invocation.action}`)
  return { settings: invocation.settings, command: invocation.command }
}

t.test('the command line of the README says what it seems to say', async (t) => {
  t.same(serving(['--port', '8080', '--endpoint', '/sse', '--user-id', 'user123', 'tsx', 'server.js']), {
    settings: { port: 8080, endpoint: '/sse', 'user-id': ['user123'] },
    command: ['tsx', 'server.js'],
  })
})

t.test('a value stands behind its flag, behind =, or at the letter', async (t) => {
  for (const argv of [['--port', '81'], ['--port=81'], ['-p', '81'], ['-p81']]) t.same(serving([...argv, 'x']).settings, { port: 81 }, argv.join(' '))
})

t.test('every flag can be given, and again as a variable', async (t) => {
  const insteadOfCommand = ['config', 'connect', 'header']
  for (const name of settingNames().filter(name => !insteadOfCommand.includes(name))) {
    const { kind } = SETTINGS[name]
    const [given, expected] = kind === 'boolean' ? ['', true] : kind === 'integer' ? ['7', 7] : kind === 'list' ? ['seven', ['seven']] : ['seven', 'seven']
    const flag = kind === 'boolean' ? `--${name}` : `--${name}=${given}`
    t.same(serving([flag, 'x']), { settings: { [name]: expected }, command: ['x'] }, flag)
    const variable = `MCP_PROXY_${name.toUpperCase().replaceAll('-', '_')}`
    t.same(serving(['x'], { [variable]: given === '' ? 'true' : given }), { settings: { [name]: expected }, command: ['x'] }, variable)
  }
})

t.test('--connect takes the place of a command, with headers of which a variable has one on each line', async (t) => {
  const url = 'https://example.com/mcp'
  t.same(readArguments(['--connect', url, '--header', 'a: 1, 2', '--header', 'b: 3', '--request-timeout', '7'], {}), { action: 'connect', url, settings: { connect: url, header: ['a: 1, 2', 'b: 3'], 'request-timeout': 7 } })
  t.same(readArguments([], { MCP_PROXY_CONNECT: url, MCP_PROXY_HEADER: 'a: 1, 2\nb: 3\n', MCP_PROXY_PORT: '1' }), { action: 'connect', url, settings: { connect: url, header: ['a: 1, 2', 'b: 3'], port: 1 } })
  t.throws(() => readArguments(['--connect', url, 'node', 'server.js'], {}), /--connect and a command are both given/)
  t.throws(() => readArguments([], {}), /no command to serve: .*--connect URL/)
  t.throws(() => readArguments(['--header', 'a: 1', 'node'], {}), /--header is about the server of --connect/)
  for (const flag of ['--port=1', '--host=0.0.0.0', '--server=sse', '--endpoint=/x', '--user-id=ada']) t.throws(() => readArguments(['--connect', url, flag], {}), /is about serving over HTTP/)
})

t.test('a list is repeated as a flag and has commas as a variable', async (t) => {
  t.same(serving(['--user-id', 'ada', '--user-id', 'grace', 'x']).settings, { 'user-id': ['ada', 'grace'] })
  t.same(serving(['x'], { MCP_PROXY_USER_ID: 'ada, grace' }).settings, { 'user-id': ['ada', 'grace'] })
  t.same(serving(['--user-id', 'with,comma', 'x']).settings, { 'user-id': ['with,comma'] }, 'a flag is one value')
})

t.test('a flag wins over its variable, a variable over nothing', async (t) => {
  const environment = { MCP_PROXY_PORT: '1', MCP_PROXY_USER_ID: 'from-variable', MCP_PROXY_DEBUG: '1', MCP_PROXY_HOST: '', OTHER: 'x', MCP_PROXY_OTHER: 'y' }
  t.same(serving(['x'], environment).settings, { port: 1, 'user-id': ['from-variable'], debug: true }, 'empty is not set')
  t.same(serving(['--port', '2', '--user-id', 'from-flag', '--no-debug', 'x'], environment).settings, { port: 2, 'user-id': ['from-flag'], debug: false })
})

t.test('from its first word on everything belongs to the command, with and without --', async (t) => {
  const cases: Array<readonly [argv: string[], settings: Settings, command: string[]]> = [
    [['node', 'server.js', '--port', '1'], {}, ['node', 'server.js', '--port', '1']],
    [['--port', '2', 'node', '--port', '1', '--debug'], { port: 2 }, ['node', '--port', '1', '--debug']],
    [['--debug', 'npx', '-y', 'server', '--help', '-v'], { debug: true }, ['npx', '-y', 'server', '--help', '-v']],
    [['--', 'node', '--port', '1'], {}, ['node', '--port', '1']],
    [['--port', '2', '--', '--odd-program', '--flag'], { port: 2 }, ['--odd-program', '--flag']],
    [['-p', '2', '--', 'npx', '--', 'server'], { port: 2 }, ['npx', '--', 'server']],
    [['npx', 'server', '--', '--user-id', 'x'], {}, ['npx', 'server', '--', '--user-id', 'x']],
    [['--debug', 'server', '-'], { debug: true }, ['server', '-']],
    [['--cwd', 'dir', 'a b', '', '--x= y'], { cwd: 'dir' }, ['a b', '', '--x= y']],
  ]
  for (const [argv, settings, command] of cases) t.same(serving(argv), { settings, command }, argv.join(' '))
})

t.test('a configuration stands for a command, and not beside one', async (t) => {
  for (const [argv, environment] of [[['--config', 'mcp.json', '--port', '2'], {}], [['--port', '2'], { MCP_PROXY_CONFIG: 'mcp.json' }]] as const) {
    t.same(readArguments(argv, environment), { action: 'serveConfig', settings: { config: 'mcp.json', port: 2 }, config: 'mcp.json' })
    t.throws(() => readArguments([...argv, 'node', 'x'], environment), { name: 'SettingError', message: '--config (MCP_PROXY_CONFIG) names servers, and "node" is a command: give one of them' })
  }
})

t.test('stdio is served from a URL, or HTTP from a configuration', async (t) => {
  t.throws(() => readArguments(['--config', 'mcp.json', '--connect', 'http://x'], {}), { name: 'SettingError', message: '--config is about serving over HTTP: with --connect stdio is served' })
})

t.test('help and version ask for no command and mind no variable', async (t) => {
  for (const flag of ['--help', '-h']) t.same(readArguments([flag], { MCP_PROXY_PORT: 'bad' }), { action: 'help' })
  for (const flag of ['--version', '-v']) t.same(readArguments(['--debug', flag], { MCP_PROXY_PORT: 'bad' }), { action: 'version' })
})

t.test('an error names the flag or the variable, and the value', async (t) => {
  const cases: Array<readonly [argv: string[], environment: NodeJS.ProcessEnv, message: RegExp]> = [
    [['--port', 'abc', 'x'], {}, /--port .*whole number.*"abc"/],
    [['--port', '65536', 'x'], {}, /--port .*65535.*"65536"/],
    [['--port=-1', 'x'], {}, /--port .*"-1"/],
    [['--port', '1.5', 'x'], {}, /--port .*"1.5"/],
    [['--port', '1e3', 'x'], {}, /--port .*"1e3"/],
    [['--port=', 'x'], {}, /--port .*""/],
    [['--body-limit', '99999999999999999999', 'x'], {}, /--body-limit .*"99999999999999999999"/],
    [['--prot', '1', 'x'], {}, /^Unknown option '--prot'$/],
    [['-x', 'x'], {}, /'-x'/],
    [['--debug=yes', 'x'], {}, /--debug/],
    [['--port'], {}, /--port.* missing/],
    [['--port', '--host', 'x'], {}, /--port/],
    [['--host=', 'x'], {}, /--host must not be empty/],
    [['--user-id=', 'x'], {}, /--user-id must not be empty/],
    [[], {}, /no command to serve: mcp-proxy \[flags\] command/],
    [['--port', '1', '--'], {}, /no command/],
    [['x'], { MCP_PROXY_PORT: 'abc' }, /MCP_PROXY_PORT .*"abc"/],
    [['x'], { MCP_PROXY_DEBUG: 'maybe' }, /MCP_PROXY_DEBUG must be true or false, not "maybe"/],
    [['x'], { MCP_PROXY_USER_ID: '' }, /MCP_PROXY_USER_ID is empty/],
    [['x'], { MCP_PROXY_USER_ID: 'a,,b' }, /MCP_PROXY_USER_ID must not be empty/],
  ]
  for (const [argv, environment, message] of cases) {
    t.throws(() => readArguments(argv, environment), { name: 'SettingError', message }, `${argv.join(' ')} ${JSON.stringify(environment)}`)
  }
})
