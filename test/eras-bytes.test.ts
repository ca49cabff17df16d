import t from 'tap'
import { startProxy } from './helpers/app.js'
import { CHILDREN } from './helpers/eras.js'
import { JSON_AND_STREAM } from './helpers/http.js'
import { openRawSse, rawPost } from './helpers/raw.js'

/** No number of JavaScript, in an order that nobody would choose. */
const AS_WRITTEN = '"structuredContent":{"big":12345678901234567890,"z":1,"a":1.5e-7}'

const ENVELOPE = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
}

t.setTimeout(30_000)

for (const { name, command } of CHILDREN) {
  t.test(`the bytes of a result cross between the eras: a ${name} server`, async (t) => {
    const { url } = await startProxy(t, { command, closeGrace: 0 })
    const call = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"numbers","arguments":{}}}'

    await t.test('a modern client', async (t) => {
      const response = await fetch(`${url}/stream`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: JSON_AND_STREAM, 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'numbers' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'numbers', arguments: {}, _meta: ENVELOPE } }),
      })
      const body = await response.text()
      t.ok(body.includes(AS_WRITTEN), body)
      t.match(body, /"resultType": ?"complete"/)
      t.equal(response.headers.get('mcp-session-id'), null, 'it has no session')
    })
    await t.test('a legacy client over stream', async (t) => {
      const body = await (await rawPost(t, url))(call, '7')
      t.ok(body.includes(AS_WRITTEN), body)
    })
    await t.test('a legacy client over SSE', { timeout: 60_000 }, async (t) => {
      const body = await (await openRawSse(t, url))(call, '7')
      t.ok(body.includes(AS_WRITTEN), body)
    })
  })
}
