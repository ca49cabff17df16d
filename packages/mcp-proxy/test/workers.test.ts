import t from 'tap'
import { isWholeHead, workerOfHead } from '../dist/workers/head.js'
import { newSessionId, stateTag, workerOfRequest, workerOfSession, workerOfState } from '../dist/workers/tags.js'

t.test('session ids and states name their workers, and are as long as they need to be', async (t) => {
  const ids = Array.from({ length: 100 }, () => newSessionId(12))
  t.equal(new Set(ids.map(id => id.replace(/-w12$/, ''))).size, 100)
  for (const id of ids) {
    t.match(id, /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}-w12$/)
    t.equal(workerOfSession(id), 12)
  }
  t.equal(workerOfState(`${stateTag(3)}.abc`), 3)
  for (const text of ['', 'w', 'w0', 'x-w0', 'x-w01', 'x-w1000', 'x-w-1', 'x-w1.5', 'x-w1 ', 'x-w1-', 'x-W1', undefined]) t.equal(workerOfSession(text), undefined, String(text))
  for (const state of ['', 'w1', 'w0.x', '1.x', 'ww1.x', ' w1.x', 'eyJ.w1.x', 7, null, undefined, {}]) t.equal(workerOfState(state), undefined)
})

t.test('a request names its session in the query or in a header', async (t) => {
  const of = (url: string, id?: string): number | undefined => workerOfRequest({ url, headers: id === undefined ? {} : { 'mcp-session-id': id } })
  t.equal(of('/mcp'), undefined)
  t.equal(of('/mcp', 'a-w2'), 2)
  t.equal(of('/messages?sessionId=a-w3'), 3)
  t.equal(of('/one/messages?x=1&sessionId=a-w3', 'a-w2'), 3)
  t.equal(of('/mcp?sessionId=mine', 'a-w2'), 2)
  t.equal(of('/mcp?sessionid=a-w3'), undefined)
})

t.test('the first head of a connection says the same, however it is written; nonsense says nothing', async (t) => {
  const head = (text: string): number | undefined => workerOfHead(Buffer.from(text))
  t.equal(head('POST /mcp HTTP/1.1\r\nHost: x\r\nMcp-Session-Id: a-w2\r\n\r\n'), 2)
  t.equal(head('POST /mcp HTTP/1.1\r\nMCP-SESSION-ID:a-w2  \r\nHost: x\r\n\r\nbody'), 2)
  t.equal(head('POST /messages?sessionId=a-w3 HTTP/1.1\r\nHost: x\r\n\r\n'), 3)
  t.equal(head('GET /mcp HTTP/1.1\r\nHost: x\r\n\r\nmcp-session-id: a-w2\r\n\r\n'), undefined, 'that is a body')
  t.equal(head('GET /mcp HTTP/1.1\r\nx-mcp-session-id: a-w2\r\n\r\n'), undefined)
  for (const text of ['', '\r\n\r\n', 'x', 'GET', '\0'.repeat(100), 'GET  HTTP/1.1\r\n\r\n', 'GET /?sessionId=%ff HTTP/1.1\r\n\r\n']) t.equal(head(text), undefined)
  t.equal(isWholeHead(Buffer.from('GET / HTTP/1.1\r\n\r')), false)
  t.equal(isWholeHead(Buffer.from('GET / HTTP/1.1\r\n\r\n')), true)
})
