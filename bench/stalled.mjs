// A client opens a stream and stops reading while 300 MB of notifications come for it: how far does the proxy's memory grow?
// Once with a child of its own, which is made to wait, and once with a shared one, where the stream is ended.
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import { mcpProxy } from 'mcp-proxy'

const CHILD = [process.execPath, fileURLToPath(new URL('../test/fixtures/child.mjs', import.meta.url))]
const SIZE = 10_000
const COUNT = 30_000

async function measure (isolation) {
  const app = Fastify()
  await app.register(mcpProxy, { command: CHILD, isolation, closeGrace: 0 })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const post = async (body, more) => await fetch(`${url}/stream`, { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) })
  const opened = await post({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'stalled', version: '1' } } })
  const session = { 'mcp-session-id': opened.headers.get('mcp-session-id') }
  await opened.text()

  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'notifyMany', arguments: { count: COUNT, bytes: SIZE }, _meta: { progressToken: 'p' } } })
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write(`POST /stream HTTP/1.1\r\nhost: 127.0.0.1\r\n${Object.entries({ ...headers, ...session }).map(([name, value]) => `${name}: ${value}\r\n`).join('')}content-length: ${body.length}\r\n\r\n${body}`)
  await new Promise(resolve => socket.once('readable', resolve)) // the head has come; nothing more is read
  global.gc()
  const before = memory()
  let most = before.rss
  for (let n = 0; n < 100; n++) {
    await new Promise(resolve => setTimeout(resolve, 100))
    most = Math.max(most, memory().rss)
  }
  global.gc()
  const kept = memory().held - before.held
  console.log(`${isolation}: ${COUNT} notifications of ${SIZE} bytes behind a stalled reader: ${mebi(kept)} MiB held, rss ${mebi(most - before.rss)} MiB up at its peak`)
  socket.destroy()
  await app.close()
}

function memory () {
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, held: heapUsed + external }
}

function mebi (bytes) {
  return (bytes / 1024 / 1024).toFixed(1)
}

await measure('session')
await measure('shared')
