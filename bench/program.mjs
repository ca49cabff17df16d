// Starts programs under test, and ends all of them with this process.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'

const PROBE = ['--expose-gc', '--import', new URL('probe.mjs', import.meta.url).href]
const READY_TIMEOUT = 20_000 // ms
const STOP_TIMEOUT = 5000 // ms until it is killed

const running = new Set()
process.once('exit', () => { for (const program of running) program.kill('SIGKILL') })
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130))

// settings of the one who runs this are not what is measured
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => name !== 'NODE_OPTIONS' && !name.startsWith('MCP_PROXY')))

/**
 * Starts a target; resolves when it can be connected to.
 * @param wait `false` resolves as soon as the process is started
 * @param probe lets `heap()` ask it for its heap
 * @param env more variables
 */
export async function start (name, { protocol, path, command }, { wait = true, probe = false, env = {} } = {}) {
  const port = await freePort()
  const program = spawn(process.execPath, [...(probe ? PROBE : []), ...command(port)], {
    // a child that is spoken to directly has its output read
    stdio: ['pipe', protocol === 'stdio' ? 'pipe' : 'ignore', process.env.BENCH_STDERR ? 'inherit' : 'ignore', ...(probe ? ['ipc'] : [])],
    env: { ...ENVIRONMENT, ...env, NODE_ENV: 'production' },
    cwd: fileURLToPath(new URL('.', import.meta.url)),
  })
  running.add(program)
  const exited = new Promise(resolve => program.once('exit', (code) => {
    running.delete(program)
    resolve(code)
  }))
  program.stdin.on('error', () => {})
  const target = {
    name,
    protocol,
    port,
    path,
    program,
    pid: program.pid,
    exited,
    async stop () {
      program.kill()
      const kill = setTimeout(() => program.kill('SIGKILL'), STOP_TIMEOUT)
      await exited
      clearTimeout(kill)
    },
    async heap () {
      program.send('heap')
      const [bytes] = await once(program, 'message')
      return bytes
    },
  }
  if (!wait || protocol === 'stdio') return target
  try {
    await ready(target)
  } catch (error) {
    await target.stop()
    throw error
  }
  return target
}

/** Resolves when something listens on the target's port; looks every few milliseconds. */
export async function ready ({ port, exited, name }) {
  let gone = false
  void exited.then(() => { gone = true })
  for (const deadline = performance.now() + READY_TIMEOUT; performance.now() < deadline; await sleep(3)) {
    if (gone) throw new Error(`${name} has exited with ${await exited}`)
    if (await listens(port)) return
  }
  throw new Error(`${name} does not listen after ${READY_TIMEOUT} ms`)
}

function listens (port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function freePort () {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
