// The floor: what a bridge costs that does nothing but the work. node:http in front, one pipe behind; every message is
// parsed once on its way in and once on its way out, to give it another id. No sessions to speak of, no errors, no limits.
// `node floor.mjs <port> <command> [arguments]`
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'

const [port, command, ...args] = process.argv.slice(2)
const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
const open = new Map()
let next = 1

let parts = []
child.stdout.on('data', (chunk) => {
  let from = 0
  for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
    parts.push(chunk.subarray(from, at))
    receive(parts.length === 1 ? parts[0] : Buffer.concat(parts))
    parts = []
    from = at + 1
  }
  if (from < chunk.length) parts.push(chunk.subarray(from))
})

function receive (line) {
  const message = JSON.parse(line.toString())
  if (message.method !== undefined) {
    // progress, by its token
    const call = open.get(message.params?.progressToken)
    if (call === undefined) return
    if (!call.response.headersSent) call.response.writeHead(200, { 'content-type': 'text/event-stream' })
    message.params.progressToken = call.token
    call.response.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`)
    return
  }
  const call = open.get(message.id)
  open.delete(message.id)
  message.id = call.id
  const text = JSON.stringify(message)
  if (call.response.headersSent) call.response.end(`event: message\ndata: ${text}\n\n`)
  else call.response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...call.headers }).end(text)
}

createServer((request, response) => {
  const body = []
  request.on('data', chunk => body.push(chunk)).on('end', () => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      return
    } else if (request.method !== 'POST') {
      response.writeHead(204).end()
      return
    }
    const message = JSON.parse(Buffer.concat(body).toString())
    if (message.id === undefined) {
      response.writeHead(202).end()
    } else {
      const id = next++
      const token = message.params?._meta?.progressToken
      open.set(id, { id: message.id, token, response, headers: message.method === 'initialize' ? { 'mcp-session-id': randomUUID() } : undefined })
      message.id = id
      if (token !== undefined) message.params._meta.progressToken = id
    }
    child.stdin.write(JSON.stringify(message) + '\n')
  })
}).listen(Number(port), '127.0.0.1')
process.once('SIGTERM', () => process.exit(0))
process.once('exit', () => child.kill())
