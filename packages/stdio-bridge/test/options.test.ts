import t from 'tap'
import fc from 'fast-check'
import { DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_REQUEST_TIMEOUT, DEFAULT_START_TIMEOUT, DEFAULT_STOP_TIMEOUT, SAFE_VARIABLES, splitCommandLine, type StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'
import { childEnvironment } from '../dist/environment.js'
import { readOptions } from '../dist/options.js'

t.test('a command line is split as a POSIX shell quotes', async (t) => {
  const lines: Array<[string, string[]]> = [
    ['', []],
    ['  \t ', []],
    ['tsx server.ts', ['tsx', 'server.ts']],
    ['  a \t b\nc  ', ['a', 'b', 'c']],
    ['a "b c" \'d e\'', ['a', 'b c', 'd e']],
    ['a""b \'\' ""', ['ab', '', '']],
    ['--x="y z"\'!\'w', ['--x=y z!w']],
    ['"it\'s" \'say "hi"\'', ['it\'s', 'say "hi"']],
    ['a\\ b \\"c\\" \\\\', ['a b', '"c"', '\\']],
    ['"a\\"b" "a\\\\b" "a\\$b" "a\\nb"', ['a"b', 'a\\b', 'a$b', 'a\\nb']],
    ["'a\\b' 'a\\'", ['a\\b', 'a\\']],
    ['a\\', ['a\\']],
    ['node -e "console.log(\'x\')"', ['node', '-e', "console.log('x')"]],
    ['日本 "é è"', ['日本', 'é è']],
  ]
  for (const [line, words] of lines) t.same(splitCommandLine(line, false), words, line)
})

t.test('nothing in a command line is run or replaced', async (t) => {
  t.same(splitCommandLine('echo $HOME *.ts `id` $(id) ; rm -rf x && y | z > f # c', false),
    ['echo', '$HOME', '*.ts', '`id`', '$(id)', ';', 'rm', '-rf', 'x', '&&', 'y', '|', 'z', '>', 'f', '#', 'c'])
})

t.test('on Windows a backslash is a path and a single quote is a character', async (t) => {
  t.same(splitCommandLine('"C:\\Program Files\\node.exe" C:\\x\\y.js', true), ['C:\\Program Files\\node.exe', 'C:\\x\\y.js'])
  t.same(splitCommandLine("it's a", true), ["it's", 'a'])
})

t.test('a quote that is not closed is an error that names it', async (t) => {
  for (const line of ['a "b', '"', 'a "b\\"']) t.throws(() => splitCommandLine(line, false), { code: 'MCP_ERR_COMMAND', message: /a " is not closed/ }, line)
  t.throws(() => splitCommandLine("a 'b \"c\"", false), { code: 'MCP_ERR_COMMAND', message: /a ' is not closed/ })
  t.throws(() => splitCommandLine('"a', true), { code: 'MCP_ERR_COMMAND' })
})

t.test('any words come back from a line that quotes them', async () => {
  const single = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`
  const double = (word: string): string => `"${word.replace(/["\\$`]/g, '\\$&')}"`
  const bare = (word: string): string => word === '' ? "''" : word.replace(/[^a-z]/gu, '\\$&')
  fc.assert(fc.property(fc.array(fc.tuple(fc.string(), fc.constantFrom(single, double, bare))), (words) => {
    const line = words.map(([word, quote]) => quote(word)).join(' ')
    return JSON.stringify(splitCommandLine(line, false)) === JSON.stringify(words.map(([word]) => word))
  }), { numRuns: 500 })
})

t.test('a child inherits what the policy lets through, never the settings of the proxy', async (t) => {
  const inherited = { PATH: '/bin', HOME: '/home/x', LANG: 'C', AWS_SECRET: 's', MCP_PROXY_USER_ID: 'secret', BASH_FUNC_x: '() { echo; }', NONE: undefined }
  t.same(childEnvironment('safe', {}, inherited), { PATH: '/bin', HOME: '/home/x', LANG: 'C' })
  t.same(childEnvironment('all', {}, inherited), { PATH: '/bin', HOME: '/home/x', LANG: 'C', AWS_SECRET: 's' })
  t.same(childEnvironment(['AWS_SECRET', 'MCP_PROXY_USER_ID', 'BASH_FUNC_x', 'NONE', 'MISSING'], {}, inherited), { AWS_SECRET: 's' })
  t.same(childEnvironment([], {}, inherited), {})
})

t.test('variables that are set for the child win over inherited ones', async (t) => {
  t.same(childEnvironment('all', { A: 'own', MCP_PROXY_X: 'on purpose' }, { A: 'inherited', B: 'b' }), { A: 'own', B: 'b', MCP_PROXY_X: 'on purpose' })
  t.same(childEnvironment([], { A: 'own' }, { A: 'inherited' }), { A: 'own' })
})

t.test('no variable that tends to hold a secret is safe', async (t) => {
  for (const name of SAFE_VARIABLES) t.notMatch(name, /TOKEN|SECRET|KEY|PASSWORD|PROXY|NODE_OPTIONS|LD_/i)
})

t.test('options have defaults and are copied', async (t) => {
  const env = { A: '1' }
  const settings = readOptions({ command: '/usr/bin/node server.js', args: ['a b'], env })
  t.same(settings, {
    ...settings,
    file: '/usr/bin/node',
    args: ['server.js', 'a b'],
    shell: false,
    cwd: undefined,
    env: { A: '1' },
    environment: 'safe',
    isolation: 'auto',
    name: 'node',
    startTimeout: DEFAULT_START_TIMEOUT,
    requestTimeout: DEFAULT_REQUEST_TIMEOUT,
    stopTimeout: DEFAULT_STOP_TIMEOUT,
    maxMessageBytes: DEFAULT_MAX_MESSAGE_BYTES,
  })
  env.A = '2'
  t.equal(settings.env['A'], '1')
  t.equal(readOptions({ command: ['C:\\bin\\my server.exe'] }).name, 'my')
  t.equal(readOptions({ command: 'x', name: 'mine' }).name, 'mine')
  t.same(readOptions({ command: 'echo "$HOME"', shell: true }).file, 'echo "$HOME"', 'a shell gets the line as it is')
  t.same(readOptions({ command: ['a b', 'c d'] }).args, ['c d'], 'a list is not split')
  t.equal(readOptions({ command: 'x', requestTimeout: 0 }).requestTimeout, 0)
})

t.test('a bad option is refused with its name, its bound and its value', async (t) => {
  const refused: Array<[Record<string, unknown>, RegExp]> = [
    [{ command: '' }, /Option command must be a command line or a list of program and arguments, not ""/],
    [{ command: [] }, /Option command .* not \[\]/],
    [{ command: [''] }, /Option command .* not \[""\]/],
    [{ command: undefined }, /Option command .* not missing/],
    [{ command: 7 }, /Option command .* not 7/],
    [{ command: ['x', 7] }, /Option command .* not \["x",7\]/],
    [{ args: 'a b' }, /Option args must be a list of strings, not "a b"/],
    [{ args: [1] }, /Option args must be a list of strings, not \[1\]/],
    [{ isolation: 'none' }, /Option isolation must be one of auto, shared, session, principal, request, or a function, not "none"/],
    [{ environment: 'some' }, /Option environment must be "safe", "all" or a list of names, not "some"/],
    [{ environment: [1] }, /Option environment .* not \[1\]/],
    [{ startTimeout: 0 }, /Option startTimeout must be a whole number from 1 to 2147483647, not 0/],
    [{ requestTimeout: -1 }, /Option requestTimeout must be a whole number from 0 to 2147483647, not -1/],
    [{ stopTimeout: '5' }, /Option stopTimeout must be a whole number from 1 to 2147483647, not "5"/],
    [{ maxMessageBytes: 1023 }, /Option maxMessageBytes must be a whole number of at least 1024, not 1023/],
    [{ maxMessageBytes: 2000.5 }, /Option maxMessageBytes .* not 2000\.5/],
    [{ shell: 'yes' }, /Option shell must be true or false, not "yes"/],
    [{ cwd: 7 }, /Option cwd must be a path, not 7/],
    [{ name: 7 }, /Option name must be a string, not 7/],
    [{ env: 'A=1' }, /Option env must be an object of strings, not a string/],
    [{ env: { A: 'secret', B: 1 } }, /Option env must be an object of strings, not one where B is none/],
    [{ env: ['A=1'] }, /Option env must be an object of strings, not a list/],
  ]
  for (const [options, message] of refused) {
    t.throws(() => readOptions({ command: 'x', ...options } as unknown as StdioBridgeOptions), { code: 'MCP_ERR_OPTION', message }, JSON.stringify(options))
  }
  t.throws(() => readOptions({ command: 'x "y' }), { code: 'MCP_ERR_COMMAND' })
})
