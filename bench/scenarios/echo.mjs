import { openClient } from '../clients.mjs'
import { warmThenLoad } from '../load.mjs'
import { percentile, residentOf } from '../measure.mjs'

const CALLS = 20_000
const PADDING = '.'.repeat(100)

/**
 * Calls over so many connections, each with one call open at a time.
 * @param sessions how many those connections share, where the protocol lets connections share one
 */
export const echo = (connections, sessions = connections) => ({
  about: `echo calls over ${count(connections, 'connection')}` + (sessions < connections ? ` and ${count(sessions, 'session')}` : ''),
  main: 'CPU ms/1,000',
  async run (launch, { calls = CALLS, seconds }) {
    const target = await launch()
    const clients = []
    for (let n = 0; n < connections; n++) {
      const shared = n >= sessions && target.protocol === 'stream' ? clients[n % sessions] : undefined
      clients.push(await openClient(target, shared))
    }
    // where each session has a child, each child has code to compile, too; and who is compared with it has the same warm-up
    const warm = calls / 2 * sessions
    const { done, times, elapsed, cpu, children, own, failed, errors } = await warmThenLoad(target, connections, { warm, amount: calls, seconds }, async (index, n) => {
      const said = `${index}/${n} ${PADDING}`
      return await clients[index].call('echo', { text: said }) === said
    })
    const figures = {
      'calls/s': done / elapsed * 1000,
      'CPU ms/1,000': cpu / done * 1000,
      'p50 ms': percentile(times, 0.5),
      'p99 ms': percentile(times, 0.99),
      'RSS MB': residentOf(target.pid) / 1e6,
      // children that came and went are not in it
      'child CPU': children < 0 ? undefined : children / done * 1000,
      'load CPU': own / done * 1000,
      failed,
      errors,
    }
    for (const client of clients) client.close()
    return figures
  },
})

function count (number, noun) {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
