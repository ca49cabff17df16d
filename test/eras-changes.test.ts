import t from 'tap'
import { lookAtAll, type Feature } from './helpers/eras.js'
import type { OpenClient } from './helpers/clients.js'

const [WATCHED, OTHER] = ['eras://text', 'eras://blob']

/** What servers say of changes, to clients of both eras before servers of both. */
const FEATURES: ReadonlyMap<string, Feature> = new Map<string, Feature>([
  ['changed lists', async (t, client, pair) => {
    if (pair.client === 'legacy') {
      await client.call('change', { list: 'tools' })
      await client.wire.until(({ method }) => method === 'notifications/tools/list_changed')
      await client.call('change', { list: 'prompts' })
      await client.wire.until(({ method }) => method === 'notifications/prompts/list_changed')
      t.pass('came')
      return
    }
    const prompts = client.wire.notified('notifications/prompts/list_changed').length
    const { granted, close } = await client.listen({ toolsListChanged: true })
    t.strictSame(granted, { toolsListChanged: true })
    await client.call('change', { list: 'prompts' })
    await client.call('change', { list: 'tools' })
    const { params } = await client.wire.until(({ method }) => method === 'notifications/tools/list_changed')
    t.equal(client.wire.notified('notifications/prompts/list_changed').length, prompts, 'what was not asked for does not come')
    t.equal(subscriptionOf(params), client.wire.sent.findLast(({ method }) => method === 'subscriptions/listen')?.id, 'it names the request that asked')
    await close()
  }],
  ['updated resources', async (t, client, pair) => {
    const watch = async (uri: string): Promise<() => Promise<unknown>> => {
      if (pair.client === 'modern') return (await client.listen({ resourceSubscriptions: [uri] })).close
      await client.sdk.subscribeResource({ uri })
      return () => client.sdk.unsubscribeResource({ uri })
    }
    const leave = await watch(WATCHED)
    await client.call('update', { uri: OTHER })
    await client.call('update', { uri: WATCHED })
    await updated(client, WATCHED, 1)
    t.equal(updates(client, OTHER), 0, 'nothing of a resource that is not watched')
    await leave()
    const leaveOther = await watch(OTHER)
    await client.call('update', { uri: WATCHED })
    await client.call('update', { uri: OTHER })
    await updated(client, OTHER, 1)
    t.equal(updates(client, WATCHED), 1, 'nothing of a resource that is watched no more')
    await leaveOther()
  }],
  ['the other era has another way', async (t, client, pair) => {
    await t.rejects(pair.client === 'modern' ? client.sdk.subscribeResource({ uri: WATCHED }) : client.listen({ toolsListChanged: true }))
    t.equal(await client.text('echo', { text: 'alive' }), 'alive')
  }],
])

function updates ({ wire }: OpenClient, uri: string): number {
  return wire.notified('notifications/resources/updated').filter(({ params }) => params?.['uri'] === uri).length
}

async function updated (client: OpenClient, uri: string, times: number): Promise<void> {
  await client.wire.until(() => updates(client, uri) >= times)
}

function subscriptionOf (params: Record<string, unknown> | undefined): unknown {
  return (params?.['_meta'] as Record<string, unknown> | undefined)?.['io.modelcontextprotocol/subscriptionId']
}

t.setTimeout(110_000)
await lookAtAll(t, FEATURES)
