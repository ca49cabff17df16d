import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import t from 'tap'
import { Crew } from '../dist/workers/crew.js'
import { Pulse } from '../dist/workers/pulse.js'

const CHILD = fileURLToPath(new URL('../../../test/fixtures/child.mjs', import.meta.url))
/** So long that only the test makes it tick. */
const INTERVAL = 1_000_000

/** @param answers whether a question is answered, by its number */
function start (t: { teardown: (fn: () => void) => void }, answers: (asked: number) => boolean): { seen: { asked: number, lost: number[] }, tick: (interval?: number) => void } {
  const seen: { asked: number, lost: number[] } = { asked: 0, lost: [] }
  const pulse = new Pulse({
    interval: INTERVAL,
    misses: 3,
    ask: () => { if (answers(++seen.asked)) pulse.heard() },
    onlost: silence => seen.lost.push(silence),
  })
  t.teardown(() => pulse.stop())
  let now = 0
  return {
    seen,
    tick: (interval = INTERVAL) => {
      now += interval
      pulse.tick(now)
    },
  }
}

t.test('who does not answer several questions in a row is lost', async (t) => {
  const { seen, tick } = start(t, asked => asked <= 10 || asked === 13)
  for (let n = 0; n < 15; n++) tick()
  t.same(seen, { asked: 15, lost: [] })
  tick()
  t.same(seen, { asked: 16, lost: [] }, 'three were asked')
  tick()
  t.same(seen, { asked: 16, lost: [3 * INTERVAL] })
})

t.test('while the one that asks was held up itself, or the machine slept, nobody is lost', async (t) => {
  const { seen, tick } = start(t, () => false)
  for (let n = 0; n < 3; n++) tick()
  for (let n = 0; n < 10; n++) tick(3 * INTERVAL)
  t.same(seen.lost, [])
  for (let n = 0; n < 2; n++) tick()
  t.same(seen.lost, [], 'it is given all its time again')
  tick()
  t.same(seen.lost, [3 * INTERVAL])
})

t.test('a worker that was stopped is ended, and another one follows; the others go on', { skip: process.platform === 'win32' }, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'mcp-proxy-test-'))
  const lines: Array<Record<string, unknown>> = []
  const log = pino({}, { write: (line: string) => { lines.push(JSON.parse(line) as Record<string, unknown>) } })
  const crew = new Crew({
    start: { count: 2, settings: { isolation: 'shared' }, target: { command: ['env', '-i', process.execPath, CHILD] } },
    patience: 10_000,
    log,
    beat: { interval: 100, misses: 30 },
  })
  t.teardown(async () => {
    await crew.stop('test')
    await crew.end()
    await rm(directory, { recursive: true })
  })
  t.match(await crew.start('http://127.0.0.1:1', directory), { banner: /ready/ })
  const ready = (): unknown[] => lines.filter(({ msg }) => msg === 'worker is ready').map(({ worker }) => worker)
  const before = lines.find(({ msg, worker }) => msg === 'worker is ready' && worker === 2)?.['workerPid']
  process.kill(Number(before), 'SIGSTOP')
  while (ready().length < 3) await setImmediate()
  t.same(ready().slice(2), [2])
  t.match(lines.find(({ err }) => err !== undefined), { level: 40, worker: 2, workerPid: before, err: { code: 'MCP_ERR_WORKER_SILENT', message: 'Worker 2 has not answered for 3 s' } })
  t.match(lines.filter(({ msg }) => String(msg).startsWith('worker has ended')), [{ worker: 2, signal: 'SIGKILL' }])
})
