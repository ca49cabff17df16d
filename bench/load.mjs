// Keeps a target busy and counts: the part that all scenarios share.
import { cpuOf, cpuOfChildren } from './measure.mjs'

/**
 * So many workers do one thing after the other, until there were `amount` of them all in all or `seconds` have passed.
 * @param one does the thing as worker `index` for the `n`th time; resolves to whether the answer was right
 * @returns how many, how many failed and why (a few reasons), the milliseconds that it took, and each, and the CPU
 * milliseconds of the program (`cpu`), its children and this process meanwhile
 */
export async function load (target, workers, amount, seconds, one) {
  const times = []
  const errors = new Set()
  let [begun, failed] = [0, 0]
  const own = process.cpuUsage()
  const [cpu, children, since] = [cpuOf(target.pid), cpuOfChildren(target.pid), performance.now()]
  const deadline = since + seconds * 1000
  await Promise.all(Array.from({ length: workers }, async (_, index) => {
    for (let n = 0; begun < amount; n++) {
      begun++
      const start = performance.now()
      try {
        if (await one(index, n) !== true) throw new Error('an answer was wrong')
      } catch (error) {
        failed++
        if (errors.size < 3) errors.add(error.message)
      }
      const now = performance.now()
      times.push(now - start)
      if (now > deadline) break
    }
  }))
  const { user, system } = process.cpuUsage(own)
  return {
    done: times.length,
    failed,
    errors: [...errors],
    times,
    elapsed: performance.now() - since,
    cpu: cpuOf(target.pid) - cpu,
    children: cpuOfChildren(target.pid) - children,
    own: (user + system) / 1000,
  }
}

/** The part before: the same, until the program's code is compiled. Its failures are counted with those of the measured part. */
export async function warmThenLoad (target, workers, { warm, amount, seconds }, one) {
  const before = await load(target, workers, warm, seconds, one)
  const measured = await load(target, workers, amount, seconds, one)
  return { ...measured, failed: before.failed + measured.failed, errors: [...new Set([...before.errors, ...measured.errors])] }
}
