// What is measured: programs that serve the child over HTTP. Each is started in a process of its own.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = name => fileURLToPath(new URL(name, import.meta.url))
const require = createRequire(import.meta.url)

const CHILD = { legacy: [process.execPath, here('child.mjs'), 'legacy'], modern: [process.execPath, here('child.mjs'), 'modern'] }
const OURS = here('../packages/mcp-proxy/bin/mcp-proxy.js')
const MCP_PROXY = 'mcp-proxy-6.7.19'
const SUPERGATEWAY = 'supergateway-4.0.0'
const pathOf = protocol => protocol === 'sse' ? '/sse' : '/mcp'

/** Names under which peers stand in tables; a target's `peers` says which of its targets is the one to compare with. */
export const PEERS = [MCP_PROXY, SUPERGATEWAY]

// flags that say how many children are kept ready
const WARM = ['--warm-size', '2']
const COLD = ['--warm-size', '0']
const REUSED = ['--warm-size', '16', '--recycle-after', '1000000']

/**
 * @param protocol what its clients speak: `stream`, `sse` or `modern`
 * @param era of the child
 * @param children what each needs a child of its own: `session`, `call` (from a pool), or nothing
 */
function ours (protocol, era, flags, children) {
  const peers = { [MCP_PROXY]: `${MCP_PROXY}/${protocol}`, ...(protocol !== 'modern' && { [SUPERGATEWAY]: `${SUPERGATEWAY}/${protocol}` }) }
  return { protocol, path: pathOf(protocol), children, peers, command: port => [OURS, '--port', String(port), ...flags, '--', ...CHILD[era]] }
}

function mcpProxy (protocol, era, flags) {
  const file = installed('peer-mcp-proxy', 'mcp-proxy')
  return { protocol, path: pathOf(protocol), command: port => [file(), '--port', String(port), '--host', '127.0.0.1', ...flags, '--', ...CHILD[era]] }
}

function supergateway (protocol, flags, children) {
  const file = installed('supergateway', 'supergateway')
  return { protocol, path: pathOf(protocol), children, command: port => [file(), '--stdio', CHILD.legacy.join(' '), '--port', String(port), '--logLevel', 'none', ...flags] }
}

/** Where a program of an installed package is; found when it is started, so that one that is missing fails by itself. */
function installed (name, program) {
  return () => {
    const manifest = require.resolve(`${name}/package.json`)
    return join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin[program])
  }
}

export const TARGETS = {
  floor: { protocol: 'stream', path: '/mcp', command: port => [here('floor.mjs'), String(port), ...CHILD.legacy] },

  stream: ours('stream', 'legacy', ['--isolation', 'shared']),
  sse: ours('sse', 'legacy', ['--isolation', 'shared']),
  modern: ours('modern', 'modern', ['--isolation', 'shared']),
  'modern-on-legacy': ours('modern', 'legacy', ['--isolation', 'shared']),
  'legacy-on-modern': ours('stream', 'modern', ['--isolation', 'shared']),
  'sse-on-modern': ours('sse', 'modern', ['--isolation', 'shared']),
  'stream-2-workers': ours('stream', 'legacy', ['--isolation', 'shared', '--workers', '2']),
  session: ours('stream', 'legacy', ['--isolation', 'session', ...WARM], 'session'),
  request: ours('stream', 'legacy', ['--isolation', 'request', ...REUSED], 'call'),

  [`${MCP_PROXY}/stream`]: mcpProxy('stream', 'legacy', ['--server', 'stream']),
  [`${MCP_PROXY}/sse`]: mcpProxy('sse', 'legacy', ['--server', 'sse']),
  [`${MCP_PROXY}/modern`]: mcpProxy('modern', 'modern', ['--server', 'stream', '--upstreamProtocol', 'modern']),
  [`${MCP_PROXY}/modern-on-legacy`]: mcpProxy('modern', 'legacy', ['--server', 'stream']),
  [`${SUPERGATEWAY}/stream`]: supergateway('stream', ['--outputTransport', 'streamableHttp', '--stateful'], 'session'),
  [`${SUPERGATEWAY}/stateless`]: supergateway('stream', ['--outputTransport', 'streamableHttp'], 'post'),
  [`${SUPERGATEWAY}/sse`]: supergateway('sse', ['--outputTransport', 'sse']),
}

/** What single scenarios compare with. They are measured where a scenario names them, and cannot be chosen. */
export const REFERENCES = {
  child: { protocol: 'stdio', command: () => CHILD.legacy.slice(1) },
  hello: { protocol: 'hello', path: '/', command: port => [here('hello.mjs'), String(port)] },
  'hello-forwarding': { protocol: 'stream', path: '/mcp', command: port => [here('hello.mjs'), String(port), ...CHILD.legacy] },
  'session-cold': ours('stream', 'legacy', ['--isolation', 'session', ...COLD], 'session'),
}
TARGETS['modern-on-legacy'].peers[MCP_PROXY] = `${MCP_PROXY}/modern-on-legacy`
