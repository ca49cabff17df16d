import { openClient } from '../clients.mjs'
import { warmThenLoad } from '../load.mjs'
import { residentOf } from '../measure.mjs'

const SESSIONS = 3000
const WORKERS = 16

export const churn = {
  about: 'sessions opened, used for one call and ended, 16 at a time',
  main: 'sessions/s',
  async run (launch, { calls = SESSIONS, seconds }) {
    const target = await launch()
    const { done, elapsed, cpu, failed, errors } = await warmThenLoad(target, WORKERS, { warm: calls / 2, amount: calls, seconds }, async () => {
      const client = await openClient(target)
      try {
        return await client.call('echo', { text: 'x' }) === 'x'
      } finally {
        await client.end()
      }
    })
    return { 'sessions/s': done / elapsed * 1000, 'CPU ms/1,000': cpu / done * 1000, 'RSS MB': residentOf(target.pid) / 1e6, failed, errors }
  },
}
