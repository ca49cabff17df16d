import { setTimeout as sleep } from 'node:timers/promises'
import { openClient } from '../clients.mjs'
import { median } from '../measure.mjs'

const SESSIONS = 6
const CHILD_START = 300 // ms
const PAUSE = 3 * CHILD_START // between two, so that who keeps children ready has time to start one

export const firstCall = {
  about: `a new session and its first call, where a child takes ${CHILD_START} ms to start; the first session of all is not counted`,
  main: 'first call ms',
  references: ['session-cold', 'child'],
  async run (launch, { calls: sessions = SESSIONS }) {
    const env = { BENCH_CHILD_START: String(CHILD_START) }
    let target = await launch({ env })
    const times = []
    let failed = 0
    for (let n = 0; n <= sessions; n++) {
      await sleep(PAUSE)
      const since = performance.now()
      // a child that nothing stands before starts anew each time
      if (target.protocol === 'stdio') target = await launch({ env })
      const client = await openClient(target)
      if (await client.call('echo', { text: 'x' }) !== 'x') failed++
      if (n > 0) times.push(performance.now() - since)
      await (client.end ?? client.close).call(client)
    }
    return { 'first call ms': median(times), failed }
  },
}
