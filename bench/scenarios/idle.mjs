import { setTimeout as sleep } from 'node:timers/promises'
import { openClient } from '../clients.mjs'
import { residentOf } from '../measure.mjs'

export const STEPS = [200, 2000]
const SETTLE = 500 // ms

export const idle = {
  about: 'resident memory with sessions that have made one call and keep their connection',
  main: 'KiB/session',
  children: ({ sessions = STEPS }) => ({ session: sessions.at(-1), post: sessions.at(-1) }),
  async run (launch, { sessions = STEPS }) {
    const target = await launch()
    const clients = []
    let failed = 0
    const used = async () => {
      const client = await openClient(target)
      clients.push(client)
      if (await client.call('echo', { text: 'x' }) !== 'x') failed++
    }
    await used()
    await sleep(SETTLE)
    const before = residentOf(target.pid)
    const figures = { 'RSS MB at 0': before / 1e6 }
    for (const count of sessions) {
      while (clients.length <= count) await Promise.all(Array.from({ length: Math.min(20, count + 1 - clients.length) }, used))
      await sleep(SETTLE)
      figures[`RSS MB at ${count.toLocaleString('en')}`] = residentOf(target.pid) / 1e6
    }
    figures['KiB/session'] = (residentOf(target.pid) - before) / 1024 / sessions.at(-1)
    for (const client of clients) client.close()
    return { ...figures, failed }
  },
}
