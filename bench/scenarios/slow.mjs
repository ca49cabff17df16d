import { openClient } from '../clients.mjs'
import { load } from '../load.mjs'
import { residentOf } from '../measure.mjs'

const OPEN = 500
const TAKES = 1000 // ms

export const slow = {
  about: '500 calls in flight, each of which takes the child a second',
  main: 'CPU ms/1,000',
  children: ({ calls = OPEN }) => ({ session: calls, call: calls, post: calls }),
  async run (launch, { calls: open = OPEN }) {
    const target = await launch({ env: { BENCH_CHILD_LOOP: '1' } })
    const clients = []
    for (let n = 0; n < open; n++) clients.push(await openClient(target))
    // once for the code, once for the figures
    const all = () => load(target, open, open, 30, async index => await clients[index].call('slow', { ms: TAKES, text: String(index) }) === String(index))
    const before = await all()
    const { elapsed, cpu, failed, errors } = await all()
    const figures = { 'beyond 1 s, ms': elapsed - TAKES, 'CPU ms/1,000': cpu / open * 1000, 'RSS MB': residentOf(target.pid) / 1e6, failed: before.failed + failed, errors }
    for (const client of clients) client.close()
    return figures
  },
}
