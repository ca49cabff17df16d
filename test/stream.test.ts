import t from 'tap'
import { buildProxy } from './helpers/app.js'
import { post, initialize } from './helpers/http.js'

t.test('a call travels to the child and its answer back as JSON', async (t) => {
  const app = await buildProxy(t)
  const session = await initialize(app)
  const answer = await post(app, { jsonrpc: '2.0', id: 'a', method: 'tools/call', params: { name: 'echo', arguments: { text: 'hi' } } }, session)
  t.equal(answer.statusCode, 200)
  t.match(answer.headers['content-type'], 'application/json')
  t.same(answer.json(), { jsonrpc: '2.0', id: 'a', result: { content: [{ type: 'text', text: 'hi' }] } })
})
