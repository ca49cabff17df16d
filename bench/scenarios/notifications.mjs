import { openClient } from '../clients.mjs'
import { warmThenLoad } from '../load.mjs'

const COUNT = 20_000

export const notifications = {
  about: 'progress notifications in one call: are all delivered, and in order?',
  main: 'delivered/s',
  async run (launch, { calls: count = COUNT, seconds }) {
    const target = await launch()
    const client = await openClient(target)
    let [heard, inOrder, calls] = [0, 0, 0]
    const { done, elapsed, cpu, failed, errors } = await warmThenLoad(target, 1, { warm: 2, amount: 3, seconds }, async () => {
      const token = `bench ${++calls}`
      let last = 0
      const ontold = ({ params }) => {
        if (params?.progressToken !== token) return
        heard++
        if (params.progress === ++last) inOrder++
      }
      await client.call('notify', { count }, { token, ontold })
      return last === count
    })
    client.close()
    const delivered = heard / calls * done
    const lost = count * calls - inOrder
    return {
      'delivered/s': delivered / elapsed * 1000,
      'delivered %': inOrder / (count * calls) * 100,
      'CPU ms/1,000': delivered === 0 ? undefined : cpu / delivered * 1000,
      failed,
      errors: lost > 0 ? [...errors, `${lost} of ${count * calls} notifications did not come, or not in their place`] : errors,
    }
  },
}
