import { setTimeout as sleep } from 'node:timers/promises'
import { openClient } from '../clients.mjs'
import { median } from '../measure.mjs'
import { ready } from '../program.mjs'

const STARTS = 3
const TIMEOUT = 20_000 // ms

export const start = {
  about: 'start of the program to its first answered call (of `hello`: its first answer)',
  main: 'start ms',
  references: ['hello', 'hello-forwarding', 'child'],
  async run (launch, { calls: starts = STARTS }) {
    const times = []
    for (let n = 0; n < starts; n++) {
      const since = performance.now()
      const target = await launch({ wait: false })
      await firstAnswer(target, since + TIMEOUT)
      times.push(performance.now() - since)
      await target.stop()
    }
    return { 'start ms': median(times), failed: 0 }
  },
}

/** Some listen before they can answer. */
async function firstAnswer (target, deadline) {
  if (target.protocol !== 'stdio') await ready(target)
  for (;;) {
    try {
      const client = await openClient(target)
      const said = await client.call('echo', { text: 'world' })
      client.close()
      if (said === 'world') return
    } catch (error) {
      if (performance.now() > deadline) throw error
    }
    await sleep(3)
  }
}
