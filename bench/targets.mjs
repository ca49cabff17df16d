// What is measured: programs that serve the child over HTTP. Each is started in a process of its own.
import { spawn } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const here = name => fileURLToPath(new URL(name, import.meta.url))
const require = createRequire(import.meta.url)
const { node } = { node: process.execPath }
const CHILD = { legacy: [node, here('child.mjs'), 'legacy'], modern: [node, here('child.mjs'), 'modern'] }
const OURS = here('../packages/mcp-proxy/bin/mcp-proxy.js')

const ours = (protocol, flags, child = 'legacy') => ({
  protocol,
  path: protocol === 'sse' ? '/sse' : '/mcp',
  command: port => [node, OURS, '--port', String(port), ...flags, '--', ...CHILD[child]],
})

/** The program of a pinned release, where it is installed. */
function release (name, file) {
  try {
    return require.resolve(`${name}/${file}`)
  } catch {
    return undefined
  }
}
const PEER = release('peer-mcp-proxy', 'dist/bin/mcp-proxy.mjs') ?? release('peer-mcp-proxy', 'dist/bin/mcp-proxy.js')
const GATEWAY = release('supergateway', 'dist/index.js')
const peer = (protocol, flags) => PEER === undefined ? undefined : { protocol, path: protocol === 'sse' ? '/sse' : '/mcp', command: port => [node, PEER, '--port', String(port), '--host', '127.0.0.1', ...flags, '--', ...CHILD.legacy] }
const gateway = (protocol, flags) => GATEWAY === undefined ? undefined : { protocol, path: protocol === 'sse' ? '/sse' : '/mcp', command: port => [node, GATEWAY, '--stdio', CHILD.legacy.join(' '), '--port', String(port), '--logLevel', 'none', ...flags] }

export const TARGETS = Object.fromEntries(Object.entries({
  floor: { protocol: 'stream', path: '/mcp', command: port => [node, here('floor.mjs'), String(port), ...CHILD.legacy] },
  stream: ours('stream', ['--isolation', 'shared']),
  'stream, 2 workers': { ...ours('stream', ['--isolation', 'shared', '--workers', '2']), says: 'ready:' },
  sse: ours('sse', ['--isolation', 'shared']),
  modern: ours('modern', ['--isolation', 'shared'], 'modern'),
  'modern-on-legacy': ours('modern', ['--isolation', 'shared']),
  'legacy-on-modern': ours('stream', ['--isolation', 'shared'], 'modern'),
  session: ours('stream', ['--isolation', 'session']),
  request: ours('stream', ['--isolation', 'request', '--warm-size', '8', '--recycle-after', '1000000']),
  'mcp-proxy 6.7.19 stream': peer('stream', ['--server', 'stream']),
  'mcp-proxy 6.7.19 sse': peer('sse', ['--server', 'sse']),
  'supergateway 4.0.0 stream': gateway('stream', ['--outputTransport', 'streamableHttp', '--stateful']),
  'supergateway 4.0.0 sse': gateway('sse', ['--outputTransport', 'sse']),
}).filter(([, target]) => target !== undefined))

/** Starts a target; resolves when it answers. */
export async function start (name) {
  const { command, path, protocol, says } = TARGETS[name]
  const port = await freePort()
  const [file, ...args] = command(port)
  const program = spawn(file, args, { stdio: ['pipe', says === undefined ? 'ignore' : 'pipe', process.env.BENCH_STDERR ? 'inherit' : 'ignore'], env: { ...process.env, NODE_OPTIONS: '', NODE_ENV: 'production' } })
  const exited = new Promise(resolve => program.once('exit', resolve))
  const stop = async () => {
    program.kill()
    await Promise.race([exited, sleep(5000).then(() => program.kill('SIGKILL'))])
  }
  try {
    await Promise.race([says === undefined ? answers(port) : hears(program.stdout, says), exited.then((code) => { throw new Error(`${name} has exited with ${code}`) })])
  } catch (error) {
    await stop()
    throw error
  }
  return { name, protocol, port, path, pids: [program.pid, ...workersOf(program.pid)], stop }
}

/** The workers of a proxy that has some: the work is theirs. Other children are the servers behind it. */
function workersOf (pid) {
  return readdirSync('/proc').filter(name => /^\d+$/.test(name)).map(Number).filter((other) => {
    try {
      const parent = Number(readFileSync(`/proc/${other}/stat`, 'utf8').split(') ')[1].split(' ')[1])
      return parent === pid && readFileSync(`/proc/${other}/cmdline`, 'utf8').includes('/workers/main.js')
    } catch {
      // it has ended meanwhile
      return false
    }
  })
}

/** Resolves when a program has said it: it may answer earlier, when not all of it is there yet. */
async function hears (stdout, says) {
  let said = ''
  for await (const chunk of stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    said += chunk
    if (said.includes(says)) break
  }
  stdout.resume()
}

async function answers (port) {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(20)) {
    try {
      await fetch(`http://127.0.0.1:${port}/`, { method: 'OPTIONS' })
      return
    } catch {
      // not yet
    }
  }
  throw new Error('no answer in 20 s')
}

function freePort () {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}
