// Connections of an app that closes, looked at from within its process.
import t from 'tap'
import { once } from 'node:events'
import { connect as dialHttp2 } from 'node:http2'
import type { FastifyServerOptions } from 'fastify'
import { startPuppet } from './helpers/puppet.js'
import { until } from './helpers/until.js'
import { plug } from './helpers/workers.js'

const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'

t.test('a request that has come with its connection, in the moment in which the app closes, is answered', async (t) => {
  const { app, url } = await startPuppet(t)
  const closed = once(app.server, 'connection').then(() => app.close())
  const socket = plug(t, url)
  let heard = ''
  socket.setEncoding('utf8').on('data', (text: string) => { heard += text })
  socket.write(`POST /stream HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: ${PING.length}\r\n\r\n${PING}`)
  await once(socket, 'close')
  t.match(heard, /^HTTP\/1\.1 503 /)
  t.match(heard, /^connection: close\r$/im)
  await closed
})

t.test('one that says nothing keeps no app from closing', async (t) => {
  const { app, url } = await startPuppet(t)
  const connected = once(app.server, 'connection')
  const socket = plug(t, url)
  await connected
  await app.close()
  await until(() => socket.closed)
  t.pass('closed')
})

t.test('clients of HTTP/2 keep no app from closing; their streams end, and then their connections', async (t) => {
  const { app, url } = await startPuppet(t, { server: { http2: true } as FastifyServerOptions })
  const [idle, listens] = [dialHttp2(url), dialHttp2(url)]
  for (const connection of [idle, listens]) t.teardown(() => { connection.destroy() })
  const nothing = idle.request({ ':path': '/nowhere' }).resume()
  await once(nothing, 'close')
  const stream = listens.request({ ':path': '/sse', accept: 'text/event-stream' })
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  await until(() => text.includes('endpoint'))
  const ended = once(stream, 'end')
  const gone = Promise.all([idle, listens].map(async connection => await once(connection, 'close')))
  await app.close()
  await ended
  await gone
  t.equal(stream.rstCode, 0)
})
