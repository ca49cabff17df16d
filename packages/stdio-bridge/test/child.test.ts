import t from 'tap'
import { Message } from '@mcp-proxy/protocol'
import { Child, type ChildExit } from '../dist/child.js'
import { readOptions } from '../dist/options.js'
import { CHILD, Log, isAlive, script, until, type Teardown } from './helpers/bridge.js'
import type { StdioBridgeOptions } from '@mcp-proxy/stdio-bridge'

interface Run {
  child: Child
  log: Log
  messages: Message[]
  /** Whether the exit had been told when a message came. */
  late: boolean[]
  /** Settles when the exit is reported. */
  exit: Promise<ChildExit>
  exited: () => boolean
}

function run (t: Teardown, options: Partial<StdioBridgeOptions> = {}): Run {
  const log = new Log()
  const messages: Message[] = []
  const late: boolean[] = []
  let exits = 0
  let child!: Child
  const exit = new Promise<ChildExit>((resolve) => {
    child = new Child(readOptions({ command: CHILD, stopTimeout: 2000, ...options }), log, {
      message: (message) => {
        messages.push(message)
        late.push(exits > 0)
      },
      oversize: () => {},
      exit: (exit) => {
        if (++exits > 1) throw new Error('reported twice')
        resolve(exit)
      },
    })
  })
  t.teardown(() => child.stop())
  return { child, log, messages, late, exit, exited: () => exits > 0 }
}

const ping = Message.request('1', 'ping', '{}')

/** Says that it runs, then lives on whatever happens to stdin and SIGTERM. */
const STUBBORN = 'process.on("SIGTERM", () => console.error("got SIGTERM")); process.stdin.resume(); setInterval(() => {}, 1000); console.error("up")'

t.test('a child whose stdin has ended ends, without a signal', async (t) => {
  const { child, messages, exit } = run(t)
  child.send(ping)
  await until(() => messages.length === 1)
  t.equal(child.exited, false)
  await child.stop()
  t.same(await exit, { code: 0, signal: null, error: undefined })
  t.equal(child.exited, true)
  t.equal(isAlive(child.pid ?? 0), false)
  await child.stop()
})

t.test('a child that ignores the end of stdin gets SIGTERM', async (t) => {
  const { child, log, exit } = run(t, { command: script('process.stdin.resume(); setInterval(() => {}, 1000); console.error("up")'), stopTimeout: 200 })
  await log.stderr(/up/)
  await child.stop()
  t.equal((await exit).signal, 'SIGTERM')
  t.equal(isAlive(child.pid ?? 0), false)
})

t.test('a child that ignores SIGTERM too gets SIGKILL', async (t) => {
  const { child, log, exit } = run(t, { command: script(STUBBORN), stopTimeout: 500 })
  await log.stderr(/up/)
  await child.stop()
  t.equal((await exit).signal, 'SIGKILL')
  t.equal(log.stderrLines(/got SIGTERM/).length, 1, 'it was asked before')
  t.equal(isAlive(child.pid ?? 0), false)
})

t.test('what a child has started ends with it', async (t) => {
  const { child, log } = run(t, { env: { MCP_CHILD_GRANDCHILD: '1' }, stopTimeout: 300 })
  const grandchild = Number(/\d+/.exec(String((await log.stderr(/^grandchild/)).object['stderr']))?.[0])
  t.equal(isAlive(grandchild), true)
  await child.stop()
  t.equal(isAlive(child.pid ?? 0), false)
  t.equal(isAlive(grandchild), false)
})

t.test('what a child has started ends also when the child dies by itself', async (t) => {
  const { child, log, exit } = run(t, { env: { MCP_CHILD_GRANDCHILD: '1' }, stopTimeout: 300 })
  const grandchild = Number(/\d+/.exec(String((await log.stderr(/^grandchild/)).object['stderr']))?.[0])
  child.send(Message.request('1', 'tools/call', '{"name":"exit","arguments":{"code":4}}'))
  // the grandchild holds stdout open: the exit is reported all the same
  t.equal((await exit).code, 4)
  await until(() => !isAlive(grandchild))
  await child.stop()
  t.equal(isAlive(grandchild), false)
})

t.test('a shell that runs the command ends with it', async (t) => {
  const { child, log } = run(t, { command: `"${process.execPath}" -e 'console.error("pid " + process.pid); setInterval(() => {}, 1000)' ; true`, shell: true, stopTimeout: 200 })
  const inner = Number(/\d+/.exec(String((await log.stderr(/^pid/)).object['stderr']))?.[0])
  await child.stop()
  t.equal(isAlive(inner), false)
  t.equal(isAlive(child.pid ?? 0), false)
})

t.test('a command that does not exist is reported, with nothing to stop', async (t) => {
  const { child, exit } = run(t, { command: ['no-such-command-here', 'x'] })
  const { error, code, signal } = await exit
  t.equal(error?.code, 'ENOENT')
  t.match(error?.message, /no-such-command-here/)
  t.same([code, signal], [null, null])
  t.equal(child.pid, undefined)
  t.equal(child.exited, true)
  child.send(ping) // lost, without harm
  await child.stop()
})

t.test('a working directory that does not exist is reported', async (t) => {
  const { exit } = run(t, { cwd: '/no/such/directory' })
  const { error } = await exit
  t.equal(error?.code, 'ENOENT')
  t.match(error?.message, /\/no\/such\/directory/, 'the message names it, not the command')
})

t.test('a command that the system refuses to run is reported', async (t) => {
  const { child, exit, exited } = run(t, { args: ['a\0b'] })
  t.equal(exited(), false, 'never while the child is being made')
  t.match((await exit).error?.message, /null bytes/)
  child.send(ping)
  child.pause()()
  child.kill()
  await child.stop()
})

t.test('the last lines of stderr are kept and all are logged', async (t) => {
  const { child, log, exit } = run(t, { command: script('for (let n = 1; n <= 30; n++) console.error("line " + n); process.stderr.write("é".repeat(20000) + "\\n" + "the end")') })
  await exit
  t.equal(child.stderrTail.length, 20)
  t.equal(child.stderrTail[0], 'line 13')
  t.match(child.stderrTail[18], /^é{100,}$/, 'a line without end is cut')
  t.ok((child.stderrTail[18]?.length ?? 0) < 1000)
  t.equal(child.stderrTail[19], 'the end', 'also without a line break')
  t.equal(log.stderrLines(/^line \d+$/).length, 30)
})

t.test('last words before an exit are delivered before the exit is', async (t) => {
  const { child, messages, late, exit } = run(t)
  child.send(Message.request('1', 'tools/call', '{"name":"exitAfterAnswer"}'))
  t.equal((await exit).code, 3)
  t.same(late, [false])
  t.match(messages[0]?.bytes.toString(), /last words/)
})

t.test('half a message of a child that died is none, a whole one without a line break is', async (t) => {
  const text = 'x'.repeat(2000)
  for (const [name, line, count] of [
    ['cut inside', `{"jsonrpc":"2.0","id":1,"result":{"a":"${text}`, 0],
    ['cut behind an inner brace', `{"jsonrpc":"2.0","id":1,"result":{"a":{"b":"${text}"}`, 0],
    ['whole', `{"jsonrpc":"2.0","id":1,"result":{"a":"${text}"}}`, 1],
  ] as const) {
    const { messages, exit } = run(t, { command: script(`process.stdout.write(${JSON.stringify(line)})`) })
    await exit
    t.equal(messages.length, count, name)
  }
})

t.test('stray lines on stdout are skipped and logged, but not what a broken message holds', async (t) => {
  const { child, log, messages, exit } = run(t, { env: { MCP_CHILD_GARBAGE: '1' } })
  child.send(ping)
  await until(() => messages.length > 0)
  t.same(messages.map(({ rawId }) => rawId), ['1'])
  const skipped = log.items.filter(({ level }) => level === 'warn').map(({ object }) => object['excerpt'])
  t.same(skipped, ['Server listening on stdio', undefined, undefined, '[1,2]'])
  await child.stop()
  await exit
})

t.test('no string in a message can end its line', async (t) => {
  const { child, messages, exit } = run(t, { command: script('let all = ""; process.stdin.on("data", chunk => { all += chunk }).on("end", () => console.log(JSON.stringify({ jsonrpc: "2.0", id: 1, result: all })))') })
  const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'm', params: { x: 'a\u2028{"jsonrpc":"2.0"}\u2029é\n\r' } })
  child.send(Message.parse(Buffer.from(text)) as Message)
  await child.stop()
  await exit
  const [seen] = messages.map(message => String(message.result))
  t.equal(seen, text.replace('\u2028', '\\u2028').replace('\u2029', '\\u2029') + '\n')
  t.same(JSON.parse(seen ?? ''), JSON.parse(text))
})

t.test('a child that reads too slowly is noticed, and nothing is lost', async (t) => {
  const { child, messages } = run(t)
  const text = 'x'.repeat(100_000)
  for (let id = 1; id <= 20; id++) child.send(Message.request(String(id), 'tools/call', `{"name":"echo","arguments":{"text":"${text}"}}`))
  t.ok(child.queuedInput > 0)
  await until(() => messages.length === 20)
  t.same(messages.map(({ id }) => id), Array.from({ length: 20 }, (_, n) => n + 1))
  t.equal(child.queuedInput, 0)
})

t.test('a child that is paused says nothing until it is resumed', async (t) => {
  const { child, messages, log } = run(t)
  const resume = child.pause()
  const again = child.pause()
  child.send(ping)
  child.send(Message.request('2', 'logging/setLevel', '{"level":"info"}'))
  await log.stderr(/setLevel/) // by then it has written its answers
  t.equal(messages.length, 0)
  resume()
  again()
  await until(() => messages.length === 2)
})

t.test('a child sees the environment and the arguments that it was given', async (t) => {
  const { messages, exit } = run(t, { command: script('console.log(JSON.stringify({ jsonrpc: "2.0", id: 1, result: { env: process.env, argv: process.argv.slice(1), cwd: process.cwd() } }))'), args: ['a b', '$HOME', '*'], env: { OWN: 'yes' }, environment: [], cwd: '/' })
  await exit
  const { env, ...rest } = messages[0]?.result as { env: Record<string, string> }
  t.same(rest, { argv: ['a b', '$HOME', '*'], cwd: '/' })
  // tap adds variables of its own to whatever is spawned
  t.same([env['OWN'], env['HOME'], env['PATH']], ['yes', undefined, undefined])
})

t.test('an error of a start does not carry the arguments, which may hold keys', async (t) => {
  const { exit } = run(t, { command: ['no-such-command', '--key', 'secret-key'] })
  const { error } = await exit
  t.match(error, { code: 'ENOENT' })
  t.notMatch(JSON.stringify({ ...error }), 'secret-key')
})
