import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { helpText } from '../dist/cli/help.js'
import { describeServer } from '../dist/banner.js'
import { checkExposure, endpointPaths, pluginOptions } from '../dist/plugin-options.js'
import { SETTINGS, settingNames, settingsFromObject, type Settings } from '../dist/settings.js'

const options = (settings: Settings): ReturnType<typeof pluginOptions> => pluginOptions(settings, 'node server.js')

t.test('settings come from an object in kebab or camel case, as strings or as what they are', async (t) => {
  t.same(settingsFromObject({ 'user-id': 'ada', requestTimeout: '60000', closeGrace: 1, stateless: 'true', debug: false, shell: '', corsOrigin: ['a', 'b'] }), {
    'user-id': ['ada'], 'request-timeout': 60000, 'close-grace': 1, stateless: true, debug: false, shell: true, 'cors-origin': ['a', 'b'],
  })
  t.same(settingsFromObject({ prefix: '/x', command: 'node x', 'no-such': 1, port: undefined }), {}, 'what it does not know is somebody else’s')
  t.same(settingsFromObject({ 'max-sessions': 1, maxSessions: 2 }), { 'max-sessions': 1 })
  t.throws(() => settingsFromObject({ requestTimeout: 'soon' }), { message: '--request-timeout must be a whole number, not "soon"' })
  t.throws(() => settingsFromObject({ maxSessions: null }), /--max-sessions .*null/)
  t.throws(() => settingsFromObject({ userId: ['ada', ''] }), /--user-id must not be empty/)
  t.throws(() => settingsFromObject({ userId: [7] }), /--user-id/)
  t.throws(() => settingsFromObject({ isolation: true }), /--isolation/)
})

t.test('an endpoint path is that of the one transport, or of SSE', async (t) => {
  t.same(endpointPaths({}), { sse: '/sse', stream: ['/stream', '/mcp'] })
  t.same(endpointPaths({ endpoint: '/events' }), { sse: '/events', stream: ['/stream', '/mcp'] })
  t.same(endpointPaths({ endpoint: '/mcp' }), { sse: '/mcp', stream: ['/stream'] }, 'a path serves one thing')
  t.same(endpointPaths({ server: 'sse' }), { sse: '/sse', stream: [] })
  t.same(endpointPaths({ server: 'sse', endpoint: '/mcp' }), { sse: '/mcp', stream: [] })
  t.same(endpointPaths({ server: 'stream' }), { sse: undefined, stream: ['/stream', '/mcp'] })
  t.same(endpointPaths({ server: 'stream', endpoint: '/one' }), { sse: undefined, stream: ['/one'] })
  t.throws(() => endpointPaths({ server: 'both' }), /--server must be sse or stream, not "both"/)
  for (const endpoint of ['sse', '/a b', '/a?b', '/a#b', 'http://x/y']) t.throws(() => endpointPaths({ endpoint }), { message: new RegExp(`--endpoint .*${JSON.stringify(endpoint).replace('?', '\\?')}`) })
})

t.test('what is left out is left to the plugins, but for the environment of the command', async (t) => {
  const { command, environment, sse, stream, warm, ...rest } = options({})
  t.same({ command, environment, sse, stream, warm }, {
    command: 'node server.js',
    environment: 'all',
    sse: { path: '/sse', messagesPath: '/messages' },
    stream: { path: ['/stream', '/mcp'], stateless: undefined, maxConnectionAge: undefined },
    warm: {},
  })
  t.same(Object.values(rest).filter(value => value !== undefined), [])
})

t.test('every setting reaches the plugin, or the server', async (t) => {
  const readElsewhere = ['port', 'host', 'config', 'debug', 'allow-unauthenticated', 'exit-with-parent', 'connect', 'header', 'workers']
  const values: Settings = { server: 'sse', endpoint: '/elsewhere', isolation: 'session', 'env-from': ['A=principal'] }
  const bare = JSON.stringify(options({}))
  for (const name of settingNames().filter(name => !readElsewhere.includes(name))) {
    const { kind } = SETTINGS[name]
    const settings = { ...(name === 'env-from' && { isolation: 'session' }), [name]: values[name] ?? (kind === 'integer' ? 7 : kind === 'boolean' ? true : kind === 'list' ? ['seven'] : 'seven') }
    const read = options(settings)
    t.ok(JSON.stringify(read) !== bare || typeof read.childEnv === 'function', name)
  }
})

t.test('values are told apart by what they mean', async (t) => {
  t.same(options({ environment: ['safe'] }).environment, 'safe')
  t.same(options({ environment: ['HOME', 'PATH'] }).environment, ['HOME', 'PATH'])
  t.same(options({ environment: ['HOME'] }).environment, ['HOME'])
  t.same(options({ 'cors-origin': ['any'] }).allowedOrigins, 'any')
  t.same(options({ 'cors-origin': ['https://a.example', '*'] }).allowedOrigins, 'any')
  t.same(options({ 'cors-origin': ['local'] }).allowedOrigins, 'local')
  t.same(options({ 'cors-origin': ['https://a.example'] }).allowedOrigins, ['https://a.example'])
  t.same(options({ 'allowed-host': ['any'] }).allowedHosts, 'any')
  t.same(options({ 'allowed-host': ['mcp.example.com'] }).allowedHosts, ['mcp.example.com'])
  t.same(options({ 'warm-size': 3 }).warm, { size: 3 })
  t.same(options({ 'warm-size': 0, 'recycle-after': 5 }).warm, { size: 0, recycleAfter: 5 })
  t.same(options({ endpoint: '/messages' }).sse, { path: '/messages', messagesPath: '/messages/post' })
})

t.test('env-from gives a child headers and the principal of its client, and nothing that is not there', async (t) => {
  const { childEnv } = options({ isolation: 'principal', 'env-from': ['TOKEN=header:X-Token', 'WHO=principal', 'MORE=header:x-more'] })
  const context = { principal: 'ada', request: { headers: { 'x-token': 'secret', 'x-more': ['two', 'values'] } } }
  t.same(childEnv?.(context as unknown as Parameters<typeof childEnv>[0]), { TOKEN: 'secret', WHO: 'ada' })
  t.same(childEnv?.({ principal: undefined, request: undefined } as unknown as Parameters<typeof childEnv>[0]), {})
  for (const rule of ['TOKEN', 'TOKEN=', 'TOKEN=cookie:x', '=principal', '7=principal', 'A-B=principal', 'TOKEN=header:', 'TOKEN=header:a b', 'TOKEN=principal ']) {
    t.throws(() => options({ 'env-from': ['OK=principal', rule] }), { name: 'SettingError', message: `--env-from must be NAME=header:x-name or NAME=principal, not ${JSON.stringify(rule)}` })
  }
})

t.test('other machines are let in with a credential, or when somebody says so', async (t) => {
  for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '::1']) t.doesNotThrow(() => checkExposure(host, {}), host)
  for (const host of ['0.0.0.0', '::', '192.168.0.1', '10.127.0.1', 'example.com', '127.example.com', 'localhost.example.com', '']) {
    t.throws(() => checkExposure(host, {}), { name: 'SettingError', message: /--user-id.*--allow-unauthenticated/ }, host)
    t.throws(() => checkExposure(host, { 'allow-unauthenticated': false }), { name: 'SettingError' }, host)
    t.doesNotThrow(() => checkExposure(host, { 'user-id': ['ada'] }), host)
    t.doesNotThrow(() => checkExposure(host, { 'allow-unauthenticated': true }), host)
  }
})

t.test('what is printed can be used, and holds no credential', async (t) => {
  const text = describeServer('http://0.0.0.0:81', { 'user-id': ['secret-id'] })
  t.match(text, 'http://127.0.0.1:81/stream\n')
  t.notMatch(text, 'secret-id')
  t.same(configOf(text), { type: 'http', url: 'http://127.0.0.1:81/mcp', headers: { 'x-user-id': '<user id>' } })
  t.same(configOf(describeServer('http://[::]:81', { server: 'sse' })), { type: 'sse', url: 'http://[::1]:81/sse' })
  t.same(configOf(describeServer('http://127.0.0.1:81', { server: 'stream', endpoint: '/one' })), { type: 'http', url: 'http://127.0.0.1:81/one' })
})

t.test('every setting is in --help and in docs/binary.md, with its default, and nothing else is', async (t) => {
  const help = helpText()
  const page = await readFile(fileURLToPath(new URL('../../../docs/binary.md', import.meta.url)), 'utf8')
  const rows = [...page.matchAll(/^\| (`-.*?) \|(.*?)\|.*\|$/gm)].map(([, flags = '', defaults = '']) => ({ flags: [...flags.matchAll(/--[\w-]+/g)].map(String), defaults }))
  t.same(rows.flatMap(({ flags }) => flags).toSorted(), [...settingNames(), 'help', 'version'].map(name => `--${name}`).toSorted())
  for (const name of settingNames()) {
    const setting: { help: string, default?: string } = SETTINGS[name]
    t.match(help, `--${name} `, name)
    t.match(help, setting.help, name)
    const row = rows.find(({ flags }) => flags.includes(`--${name}`))
    if (setting.default !== undefined && /^\d+$/.test(setting.default)) t.match(row?.defaults, setting.default, `default of ${name}`)
  }
  for (const flag of help.match(/^ +(?:-\w, )?--[\w-]+/gm) ?? []) t.ok(rows.some(row => row.flags.includes(flag.trim().split(', ').at(-1) ?? '')), flag)
})

/** The one server of the configuration that is printed. */
function configOf (text: string): unknown {
  const { mcpServers } = JSON.parse(text.slice(text.indexOf('{'))) as { mcpServers: Record<string, unknown> }
  return Object.values(mcpServers)[0]
}
