/* eslint no-template-curly-in-string: "off" -- the places for variables in a configuration look like that */
import t from 'tap'
import { readEntry } from '../dist/config/entry.js'
import { parseConfig } from '../dist/config/file.js'
import { commandOptions } from '../dist/config/server-options.js'
import { fillIn } from '../dist/config/variables.js'

const environment = { TOKEN: 'secret-token', EMPTY: '', A_1: 'a', CLOSING: '}${TOKEN}' }
const parse = (servers: object): ReturnType<typeof parseConfig> => parseConfig(JSON.stringify({ mcpServers: servers }), environment)
const why = (entry: unknown): string | undefined => parse({ name: entry }).broken.get('name')?.message

t.test('variables are put in, once, wherever they stand', async (t) => {
  const cases: Array<readonly [text: string, filled: string]> = [
    ['${TOKEN}', 'secret-token'],
    ['Bearer ${env:TOKEN}!${A_1}', 'Bearer secret-token!a'],
    ['${EMPTY}', ''],
    ['${CLOSING}', '}${TOKEN}'],
    ['${NOT_SET:-https://x}/${EMPTY:-no}', 'https://x/'],
    ['${env:NOT_SET:-}', ''],
    ['$${TOKEN} $TOKEN $ {TOKEN} ${ {}', '${TOKEN} $TOKEN $ {TOKEN} ${ {}'],
  ]
  for (const [text, filled] of cases) t.equal(fillIn(text, environment, 'x'), filled, text)
})

t.test('a variable that is not set is named, and no value is', async (t) => {
  t.equal(why({ command: 'x', args: ['${TOKEN}', '${TOKEN} ${NOT_SET}'] }), 'args[1]: the variable NOT_SET is not set')
  t.equal(why({ command: 'x', env: { KEY: '${env:NOT_SET}' } }), 'env.KEY: the variable NOT_SET is not set')
  t.equal(why({ command: '${NOT_SET}' }), 'command: the variable NOT_SET is not set')
  t.equal(why({ command: 'x', cwd: '${NOT_SET}' }), 'cwd: the variable NOT_SET is not set')
  t.equal(why({ url: 'https://${NOT_SET}' }), 'url: the variable NOT_SET is not set')
  t.equal(why({ url: 'https://x', headers: { authorization: 'Bearer ${NOT_SET}' } }), 'headers.authorization: the variable NOT_SET is not set')
  t.match(why({ command: 'x', args: ['${input:key}'] }), /^args\[0\]: \$\{input:key\} is no variable/)
})

t.test('a command keeps its words as they are', async (t) => {
  t.same(readEntry({ type: 'stdio', command: '/a b/c "d', args: ['e f', '', '--g=${TOKEN}'], env: { KEY: '${TOKEN}' }, cwd: '${A_1}', autoApprove: ['x'] }, environment), {
    kind: 'command', command: ['/a b/c "d', 'e f', '', '--g=secret-token'], env: { KEY: 'secret-token' }, cwd: 'a', own: {},
  })
})

t.test('a server elsewhere has a URL, headers, and perhaps a transport', async (t) => {
  t.same(readEntry({ url: 'https://x/mcp?key=${TOKEN}', headers: { authorization: 'Bearer ${TOKEN}' } }, environment), {
    kind: 'url', url: 'https://x/mcp?key=secret-token', transport: 'auto', headers: { authorization: 'Bearer secret-token' }, own: {},
  })
  for (const [type, transport] of [['sse', 'sse'], ['http', 'stream'], ['streamable-http', 'stream'], ['streamableHttp', 'stream']]) t.match(readEntry({ type, url: 'http://x' }, {}), { transport })
})

t.test('what is wrong with an entry is said, and is wrong with that one only', async (t) => {
  const cases: Array<readonly [entry: unknown, message: RegExp]> = [
    [7, /must be an object/],
    [{}, /needs a command or a url/],
    [{ command: 'x', url: 'http://x' }, /one of them/],
    [{ command: 'x', disabled: 'yes' }, /disabled must be true or false/],
    [{ url: 'http://x', disabled: null }, /disabled must be true or false/],
    [{ command: '' }, /command must not be empty/],
    [{ command: ['x'] }, /command must be a string/],
    [{ command: 'x', args: 'y' }, /args must be a list/],
    [{ command: 'x', args: [7] }, /args\[0\] must be a string/],
    [{ command: 'x', env: { KEY: 7 } }, /env.KEY must be a string/],
    [{ command: 'x', env: [] }, /env must be an object/],
    [{ command: 'x', type: 'http' }, /has a url/],
    [{ url: 'http://x', type: 'stdio' }, /has a command/],
    [{ url: 'http://x', type: 'ws' }, /type must be .*"ws"/],
    [{ url: 'file:///secret' }, /^url must be an http: or https: URL$/],
    [{ url: 'secret' }, /^url must be an http: or https: URL$/],
    [{ command: 'x', mcpProxy: { port: 1 } }, /mcpProxy.port is no setting/],
    [{ command: 'x', mcpProxy: { userId: 'x' } }, /mcpProxy.userId is no setting/],
    [{ command: 'x', mcpProxy: { requestTimeout: 'soon' } }, /mcpProxy: --request-timeout must be a whole number/],
    [{ url: 'http://x', mcpProxy: { isolation: 'session' } }, /mcpProxy.isolation is no setting of such a server/],
  ]
  for (const [entry, message] of cases) {
    const { entries, broken } = parse({ good: { command: 'x' }, name: entry })
    t.same([...entries.keys()], ['good'])
    t.match(broken.get('name')?.message, message, JSON.stringify(entry))
  }
})

t.test('names can stand in a URL', async (t) => {
  const names = ['a', 'github-2', 'a.b_c~d', '7', 'constructor']
  t.same([...parse(Object.fromEntries(names.map(name => [name, { command: 'x' }]))).entries.keys()].toSorted(), names.toSorted())
  for (const name of ['', 'a b', '..', '.a', 'a/b', 'ž', '-a', '__proto__', 'a%20b', 'x'.repeat(65)]) {
    const { entries, broken } = parseConfig(`{"mcpServers":{${JSON.stringify(name)}:{"command":"x"}}}`, {})
    t.equal(entries.size, 0, name)
    t.match(broken.get(name)?.message, /part of a URL/, name)
  }
})

t.test('what is disabled is not looked at', async (t) => {
  const { entries, broken } = parse({ off: { disabled: true, args: 7 }, on: { disabled: false, command: 'x' } })
  t.same([...entries.keys()], ['on'])
  t.equal(broken.size, 0)
})

t.test('a file that is none is refused, and nothing of it is shown', async (t) => {
  for (const [text, message] of [
    ['{"mcpServers":{"x":{"env":{"KEY":secret}}}}', /^the configuration is not JSON/],
    ['{"mcpServers":{},\n"secret"', /^the configuration is not JSON/],
    ['', /^the configuration is not JSON/],
    ['[]', /an object "mcpServers"/],
    ['{"servers":{"x":{"command":"secret"}}}', /an object "mcpServers"/],
    ['{"mcpServers":[]}', /an object "mcpServers"/],
  ] as const) {
    try {
      parseConfig(text, {})
      t.fail(text)
    } catch (error) {
      t.match(error, { name: 'SettingError', message })
      t.notMatch(String(error), 'secret')
    }
  }
  t.equal(parseConfig('\uFEFF{"mcpServers":{}}', {}).entries.size, 0)
})

t.test('an entry has settings of its own over those of all, and inherits little of the environment', async (t) => {
  const entry = readEntry({ command: 'x', cwd: 'sub', env: { KEY: 'k' }, mcpProxy: { isolation: 'session', requestTimeout: 7 } }, {})
  if (entry.kind !== 'command') throw new Error(entry.kind)
  const all = { isolation: 'shared', 'request-timeout': 1, 'stop-timeout': 2, cwd: '/base' }
  t.match(commandOptions('n', entry, all), { command: ['x'], name: 'n', cwd: '/base/sub', env: { KEY: 'k' }, environment: 'safe', isolation: 'session', requestTimeout: 7, stopTimeout: 2 })
  t.equal(commandOptions('n', entry, { ...all, environment: ['all'] }).environment, 'all')
  t.match(commandOptions('n', { ...entry, cwd: undefined }, {}), { cwd: undefined })
})
