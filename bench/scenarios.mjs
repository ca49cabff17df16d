// What is measured. Each scenario takes a running target and gives figures; what failed is one of them.
import { setTimeout as sleep } from 'node:timers/promises'
import { openClient } from './clients.mjs'
import { cpuOf, percentile, residentOf } from './measure.mjs'

/** Calls over so many connections, each with one call open at a time. `sessions`: how many those connections share. */
const echo = (connections, sessions = connections) => async (target, calls = 6000) => {
  const openers = []
  const clients = []
  for (let n = 0; n < connections; n++) {
    const shared = n >= sessions && target.protocol === 'stream' ? openers[n % sessions] : undefined
    const client = await openClient(target, shared)
    if (shared === undefined) openers.push(client)
    clients.push(client)
  }
  const times = []
  let failed = 0
  const each = Math.ceil(calls / connections)
  const round = async (client, index, count, keep) => {
    for (let n = 0; n < count; n++) {
      const said = `${index}/${n} ${'.'.repeat(100)}`
      const since = performance.now()
      const heard = await client.call('echo', { text: said }).catch(error => error)
      if (heard !== said) failed++
      if (keep) times.push(performance.now() - since)
    }
  }
  await Promise.all(clients.map((client, index) => round(client, index, Math.ceil(each / 4), false)))
  const [cpu, since] = [cpuOf(target.pids), performance.now()]
  await Promise.all(clients.map((client, index) => round(client, index, each, true)))
  const [used, elapsed] = [cpuOf(target.pids) - cpu, performance.now() - since]
  for (const client of clients) client.close()
  const done = each * connections
  return { 'calls/s': done / elapsed * 1000, 'CPU ms/1,000': used / done * 1000, 'p50 ms': percentile(times, 0.5), 'p99 ms': percentile(times, 0.99), 'RSS MB': residentOf(target.pids) / 1e6, failed }
}

/** Sessions opened, used once and ended. */
const churn = async (target, count = 1500) => {
  let failed = 0
  const one = async () => {
    try {
      const client = await openClient(target)
      if (await client.call('echo', { text: 'x' }) !== 'x') failed++
      await client.end()
    } catch {
      failed++
    }
  }
  for (let n = 0; n < 16; n++) await one()
  const [cpu, since] = [cpuOf(target.pids), performance.now()]
  await Promise.all(Array.from({ length: 16 }, async () => { for (let n = 0; n < count / 16; n++) await one() }))
  const [used, elapsed] = [cpuOf(target.pids) - cpu, performance.now() - since]
  return { 'sessions/s': count / elapsed * 1000, 'CPU ms/1,000': used / count * 1000, failed }
}

/** Progress notifications in one call: are all delivered, and in order? */
const notifications = async (target, count = 20_000) => {
  const client = await openClient(target)
  let [heard, failed] = [0, 0]
  const ontold = ({ params }) => {
    heard++
    if (params?.progress !== heard) failed++
  }
  const [cpu, since] = [cpuOf(target.pids), performance.now()]
  await client.call('notify', { count }, { token: 'bench', ontold })
  const [used, elapsed] = [cpuOf(target.pids) - cpu, performance.now() - since]
  client.close()
  return { 'delivered/s': heard / elapsed * 1000, 'delivered %': heard / count * 100, 'CPU ms/1,000': used / heard * 1000, failed }
}

const large = (megabytes, direction) => async (target, times = 8) => {
  const client = await openClient(target)
  const bytes = megabytes * 1e6
  const given = 'y'.repeat(bytes)
  let failed = 0
  const once = async () => {
    const text = await client.call('bytes', direction === 'result' ? { bytes } : { given }).catch(() => '')
    if (direction === 'result' ? text.length !== bytes : text !== String(bytes)) failed++
  }
  await once()
  const [cpu, since] = [cpuOf(target.pids), performance.now()]
  for (let n = 0; n < times; n++) await once()
  const [used, elapsed] = [cpuOf(target.pids) - cpu, performance.now() - since]
  client.close()
  return { 'MB/s': megabytes * times / elapsed * 1000, 'CPU ms/MB': used / megabytes / times, 'RSS MB': residentOf(target.pids) / 1e6, failed }
}

/** Many slow calls at once. */
const slow = async (target, open = 500) => {
  const clients = await Promise.all(Array.from({ length: open }, () => openClient(target)))
  let failed = 0
  const [cpu, since] = [cpuOf(target.pids), performance.now()]
  await Promise.all(clients.map(async (client, index) => {
    if (await client.call('slow', { ms: 1000, text: String(index) }).catch(() => '') !== String(index)) failed++
  }))
  const [used, elapsed] = [cpuOf(target.pids) - cpu, performance.now() - since]
  for (const client of clients) client.close()
  return { 'beyond 1 s, ms': elapsed - 1000, 'CPU ms/1,000': used / open * 1000, failed }
}

/** Resident memory of sessions that do nothing. */
const idle = async (target, steps = [200, 2000]) => {
  const clients = [await openClient(target)]
  await sleep(500)
  const figures = { 'RSS MB': residentOf(target.pids) / 1e6 }
  for (const count of steps) {
    while (clients.length <= count) clients.push(...await Promise.all(Array.from({ length: 20 }, () => openClient(target))))
    await sleep(500)
    figures[`RSS MB, ${count} sessions`] = residentOf(target.pids) / 1e6
  }
  for (const client of clients) client.close()
  return { ...figures, failed: 0 }
}

export const SCENARIOS = {
  'echo-1': echo(1),
  'echo-16': echo(16),
  'echo-16-on-1': echo(16, 1),
  'echo-64': echo(64),
  'echo-64-on-16': echo(64, 16),
  churn,
  notifications,
  'result-1': large(1, 'result'),
  'result-10': large(10, 'result'),
  'argument-1': large(1, 'argument'),
  'argument-9': large(9, 'argument'),
  slow,
  idle,
}
