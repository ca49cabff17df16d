import t from 'tap'
import { CHILDREN } from './helpers/eras.js'
import { startProxy } from './helpers/app.js'
import { openClient } from './helpers/clients.js'

t.setTimeout(30_000)

for (const { name, command } of CHILDREN) {
  t.test(`a client that insists on 2026-07-28 is refused over SSE, which is older: a ${name} server`, async (t) => {
    const { app, url } = await startProxy(t, { command })
    await t.rejects(openClient(t, 'sse', url, { sdk: 'v2-pinned' }), { message: /2026-07-28/ })
    const other = await openClient(t, 'sse', url, { sdk: 'v2-auto' })
    t.equal(await other.text('echo', { text: 'hello' }), 'hello', 'one that does not insist is served')
    t.equal(app.mcpBridge.status().children.length, 1, 'by the same child')
  })
}
