// The server of the benchmarks: stdio MCP of both eras in as little as it takes, so that it is never the bottleneck.
// `node child.mjs [legacy|modern]`; BENCH_CHILD_START=300 makes its start take so many milliseconds. It blocks while it
// reads, which takes half the processor time of an event loop: with a child for each session there are many of it. The
// tool `slow` needs the loop, and BENCH_CHILD_LOOP=1.
import { readSync, writeSync } from 'node:fs'

const modern = process.argv[2] === 'modern'
const META = 'io.modelcontextprotocol/'
const SERVER = { name: 'bench', version: '1' }
const CAPABILITIES = { tools: {}, logging: {} }
const TOOLS = ['echo', 'notify', 'bytes', 'slow'].map(name => ({ name, inputSchema: { type: 'object' } }))
const COMPLETE = modern ? '"resultType":"complete",' : ''

const start = Number(process.env.BENCH_CHILD_START ?? 0)
if (start > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, start)

let out = ''
const write = (text) => { out += text + '\n' }
function flush () {
  if (out === '') return
  const bytes = Buffer.from(out)
  out = ''
  for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at)
}
const result = (id, value) => write(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{${COMPLETE}${JSON.stringify(value).slice(1)}}`)
const text = (id, value) => result(id, { content: [{ type: 'text', text: value }] })

const blobs = new Map()
function blob (bytes) {
  if (!blobs.has(bytes)) blobs.set(bytes, 'x'.repeat(bytes))
  return blobs.get(bytes)
}

const tools = {
  echo: (id, { text: said }) => text(id, said),
  // a number of progress notifications, and the answer
  notify: (id, { count }, token) => {
    for (let n = 1; n <= count; n++) write(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${JSON.stringify(token)},"progress":${n},"total":${count}}}`)
    text(id, 'done')
  },
  // a result of so many bytes, or the length of an argument
  bytes: (id, { bytes, given }) => text(id, given === undefined ? blob(bytes) : String(given.length)),
  slow: (id, { ms, text: said }) => setTimeout(() => {
    if (out === '') setImmediate(flush)
    text(id, said)
  }, ms),
}

function receive (line) {
  const { id, method, params } = JSON.parse(line)
  if (id === undefined) return
  const unsupported = modern && params?._meta?.[`${META}protocolVersion`] === undefined
  if (unsupported) write(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32022, message: 'unsupported', data: { supported: ['2026-07-28'] } } }))
  else if (method === 'tools/call') tools[params.name](id, params.arguments, params._meta?.progressToken)
  else if (method === 'tools/list') result(id, { tools: TOOLS, ...(modern && { ttlMs: 0, cacheScope: 'private' }) })
  else if (method === 'initialize') result(id, { protocolVersion: params.protocolVersion, capabilities: CAPABILITIES, serverInfo: SERVER })
  else if (modern && method === 'server/discover') result(id, { supportedVersions: ['2026-07-28'], capabilities: CAPABILITIES, _meta: { [`${META}serverInfo`]: SERVER }, ttlMs: 0, cacheScope: 'private' })
  else if (modern && method === 'subscriptions/listen') write(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { notifications: {}, _meta: { [`${META}subscriptionId`]: id } } }))
  else if (method === 'ping' || method === 'logging/setLevel') result(id, {})
  else write(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: `Method not found: ${method}` } }))
}

// lines may be 10 MB: chunks are joined once
let parts = []
function take (chunk) {
  let from = 0
  for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
    parts.push(chunk.subarray(from, at))
    receive(parts.length === 1 ? parts[0].toString() : Buffer.concat(parts).toString())
    parts = []
    from = at + 1
  }
  // the chunk is read into again
  if (from < chunk.length) parts.push(Buffer.from(chunk.subarray(from)))
  flush()
}

if (process.env.BENCH_CHILD_LOOP === '1') {
  process.stdin.on('data', take).on('end', () => process.exit(0))
} else {
  const chunk = Buffer.allocUnsafe(65536)
  for (let length = readSync(0, chunk); length > 0; length = readSync(0, chunk)) take(chunk.subarray(0, length))
}
