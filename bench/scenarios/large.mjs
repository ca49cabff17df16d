import { openClient } from '../clients.mjs'
import { warmThenLoad } from '../load.mjs'
import { residentOf } from '../measure.mjs'

const BYTES = 400e6 // each way, for one target

/** Results or arguments of so many megabytes, one after the other. */
export const large = (megabytes, direction) => ({
  about: `${direction}s of ${megabytes} MB`,
  main: 'CPU ms/MB',
  async run (launch, { calls = BYTES / 1e6 / megabytes, seconds }) {
    const target = await launch()
    const client = await openClient(target)
    const bytes = megabytes * 1e6
    const given = 'y'.repeat(bytes)
    const { done, elapsed, cpu, failed, errors } = await warmThenLoad(target, 1, { warm: calls / 2, amount: calls, seconds }, async () => {
      const text = await client.call('bytes', direction === 'result' ? { bytes } : { given })
      return direction === 'result' ? text.length === bytes : text === String(bytes)
    })
    client.close()
    return { 'MB/s': megabytes * done / elapsed * 1000, 'CPU ms/MB': cpu / megabytes / done, 'RSS MB': residentOf(target.pid) / 1e6, failed, errors }
  },
})
