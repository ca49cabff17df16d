// Opens 5,000 sessions and abandons them: how much heap does each take, and do all of them end by themselves?
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import { mcpProxy } from 'mcp-proxy'

const SESSIONS = Number(process.argv[2] ?? 5000)
const IDLE = 5000

const sessions = { open: 0, most: 0 }
const app = Fastify()
await app.register(mcpProxy, {
  command: [process.execPath, fileURLToPath(new URL('../test/fixtures/child.mjs', import.meta.url))],
  isolation: 'shared',
  idleTimeout: IDLE,
  onSessionOpen: () => { sessions.open++ },
  onSessionClose: () => { sessions.open-- },
})
const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
const agent = new Agent({ keepAlive: true, maxSockets: 16 })

function post (body, headers = {}) {
  return new Promise((resolve, reject) => {
    const outgoing = request({ agent, port, host: '127.0.0.1', path: '/stream', method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers } }, (response) => {
      response.resume().on('end', () => resolve(response))
    })
    outgoing.on('error', reject).end(JSON.stringify(body))
  })
}

async function openSession () {
  const response = await post({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'soak', version: '1' } } })
  await post({ jsonrpc: '2.0', method: 'notifications/initialized' }, { 'mcp-session-id': response.headers['mcp-session-id'] })
}

async function openSessions (count) {
  for (let n = 0; n < count; n += 16) await Promise.all(Array.from({ length: Math.min(16, count - n) }, openSession))
}

function heap () {
  global.gc()
  global.gc()
  return process.memoryUsage().heapUsed
}

await openSessions(500) // warm: code and caches
const before = heap()
await openSessions(SESSIONS)
const after = heap()
sessions.most = sessions.open
const deadline = Date.now() + IDLE * 4
while (sessions.open > 0 && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 100))
console.log(`sessions opened and abandoned: ${sessions.most}`)
console.log(`heap for each: ${((after - before) / SESSIONS / 1024).toFixed(2)} KiB`)
console.log(`left after the idle time: ${sessions.open}`)
console.log(`heap beyond the start then: ${((heap() - before) / 1024 / 1024).toFixed(1)} MiB`)
agent.destroy()
await app.close()
