import t from 'tap'
import { makeBridge, until, type TestBridge } from './helpers/bridge.js'
import { asModern, type ModernClient } from './helpers/modern.js'

/** A client whose calls have a child to themselves. */
const askable = ({ client }: TestBridge, principal?: string): ModernClient => asModern(client(principal), { sampling: {} })

t.test('a child that has served its call makes way for a client that waits for a place', async (t) => {
  const made = makeBridge(t, { isolation: 'auto', upstreamEra: 'legacy', maxChildren: 1, warm: { size: 1 } })
  const call = askable(made)
  call.say(1, 'tools/call', { name: 'sleep', arguments: { ms: 100 } })
  await until(() => made.bridge.status().children.some(({ calls }) => calls === 1))
  const session = made.client().initialize({ sampling: {} })
  await until(() => made.bridge.status().queued === 1)
  t.match(await call.client.answer(1), { result: { content: [{ text: 'slept' }] } })
  t.match(await session, { result: { protocolVersion: '2025-06-18' } })
})

t.test('a child that is started to be kept ready makes way for a client that waits for a place', async (t) => {
  const made = makeBridge(t, { isolation: 'auto', upstreamEra: 'legacy', maxChildren: 2, warm: { size: 1 } })
  // its child is not given back while it is open
  askable(made).say(1, 'tools/call', { name: 'never' })
  await until(() => made.bridge.status().children.length === 2)
  t.match(await made.client().initialize({ sampling: {} }), { result: { protocolVersion: '2025-06-18' } })
})

t.test('a shared child whose last client leaves makes way for a call that waits for a place', async (t) => {
  const made = makeBridge(t, { isolation: 'principal', upstreamEra: 'legacy', maxChildren: 1 })
  const ada = made.client('ada')
  await ada.initialize()
  const grace = asModern(made.client('grace'), { sampling: {} })
  grace.say(1, 'tools/call', { name: 'echo', arguments: { text: 'my turn' } })
  await until(() => made.bridge.status().queued === 1)
  await ada.connection.close()
  t.match(await grace.client.answer(1), { result: { content: [{ text: 'my turn' }] } })
})
