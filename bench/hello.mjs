// Fastify with one route, and with a command one more that forwards calls to it: what a start costs before it can do anything.
// `node hello.mjs <port> [command] [arguments]`
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import Fastify from 'fastify'

const [port, command, ...args] = process.argv.slice(2)
const app = Fastify()
app.get('/', async () => ({ hello: 'world' }))
if (command !== undefined) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })
  app.post('/mcp', async ({ body }, reply) => {
    const answered = once(lines, 'line')
    child.stdin.write(JSON.stringify(body) + '\n')
    if (body.id === undefined) return reply.code(202).send()
    const [line] = await answered
    return reply.type('application/json').send(line)
  })
  process.once('exit', () => child.kill())
}
await app.listen({ port: Number(port), host: '127.0.0.1' })
process.once('SIGTERM', () => process.exit(0))
