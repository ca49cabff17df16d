import { setTimeout as sleep } from 'node:timers/promises'
import { openClient } from '../clients.mjs'
import { STEPS } from './idle.mjs'

const WARM = 200

export const heap = {
  about: 'heap in use for each idle session, after a full collection; the connections of their POSTs are closed',
  main: 'KiB/session',
  children: ({ sessions = STEPS }) => ({ session: sessions.at(-1), post: sessions.at(-1) }),
  async run (launch, { sessions = STEPS }) {
    const without = await measure(launch, sessions, 'KiB/session', client => client.close())
    const withStream = await measure(launch, sessions, 'KiB/session with GET', async (client) => {
      await client.listen()
      client.connection.close()
    })
    return { ...without, ...withStream, failed: 0 }
  },
}

async function measure (launch, steps, figure, leave) {
  const target = await launch({ probe: true })
  const streams = figure !== 'KiB/session'
  // a session of SSE is its stream; a modern client has neither
  if (streams ? target.protocol === 'modern' : target.protocol === 'sse') return {}
  const clients = []
  const open = async () => {
    const client = await openClient(target)
    clients.push(client)
    if (await client.call('echo', { text: 'x' }) !== 'x') throw new Error('an answer was wrong')
    await leave(client)
  }
  // code and caches first; these sessions end
  const many = async (count) => { while (clients.length < count) await Promise.all(Array.from({ length: Math.min(16, count - clients.length) }, open)) }
  await many(Math.min(WARM, steps[0]))
  for (const client of clients.splice(0)) await client.end()
  const before = await settled(target)
  const figures = {}
  for (const count of steps) {
    await many(count)
    figures[count === steps.at(-1) ? figure : `${figure} at ${count}`] = (await settled(target) - before) / 1024 / count
  }
  for (const client of clients) client.close()
  return figures
}

/** The heap when it shrinks no longer: what was closed takes a moment to be forgotten. */
async function settled (target) {
  let least = await target.heap()
  for (let same = 0; same < 3;) {
    await sleep(100)
    const bytes = await target.heap()
    if (bytes < least * 0.999) same = 0
    else same++
    least = Math.min(least, bytes)
  }
  return least
}
