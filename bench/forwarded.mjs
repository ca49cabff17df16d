// What it costs that a request comes to a worker whose session it is not: sequential calls over one connection each, to a
// session of the worker that has the connection, and to one of the other.
import { openClient } from './clients.mjs'
import { cpuOf, percentile } from './measure.mjs'
import { start } from './program.mjs'
import { TARGETS } from './targets.mjs'

const CALLS = 3000
const target = await start('stream-2-workers', TARGETS['stream-2-workers'])
try {
  // by turns: the first has its connection where its session is
  const direct = await openClient(target)
  const other = await openClient(target)
  const away = await openClient(target, direct)
  // its first request decides: that of the other session
  away.headers = other.headers
  await away.call('echo', { text: 'x' })
  away.headers = direct.headers
  const workers = [direct, other].map(({ headers }) => headers['mcp-session-id'].split('-').at(-1))
  if (workers[0] === workers[1]) throw new Error('both sessions are of one worker')
  const rounds = { direct: [], 'passed on': [] }
  for (let round = 0; round < 4; round++) {
    for (const [name, client] of [['direct', direct], ['passed on', away]]) {
      const times = []
      const cpu = cpuOf(target.pid)
      for (let n = 0; n < CALLS; n++) {
        const since = performance.now()
        if (await client.call('echo', { text: String(n) }) !== String(n)) throw new Error('wrong answer')
        times.push(performance.now() - since)
      }
      // the first round warms up
      if (round > 0) rounds[name].push({ p50: percentile(times, 0.5), cpu: (cpuOf(target.pid) - cpu) / CALLS })
    }
  }
  for (const [name, all] of Object.entries(rounds)) {
    const mean = key => all.reduce((sum, round) => sum + round[key], 0) / all.length
    console.log(`${name}: p50 ${mean('p50').toFixed(3)} ms, CPU of the proxy ${mean('cpu').toFixed(3)} ms for each call`)
  }
  for (const client of [direct, other, away]) client.close()
} finally {
  await target.stop()
}
