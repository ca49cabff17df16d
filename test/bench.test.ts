// The benchmark runs, and counts. What it measures is not looked at: that is the machine's as much as ours.
import t from 'tap'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const BENCH = fileURLToPath(new URL('../../bench/run.mjs', import.meta.url))

type Figures = Record<string, unknown>
interface Report {
  results: Record<string, Record<string, Figures>>
  goals: Array<{ goal: string, met: string }>
}

interface Ended { code: unknown, stdout: string, stderr: string }

function bench (...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [BENCH, ...args], (error, stdout, stderr) => resolve({ code: error === null ? 0 : error.code, stdout, stderr }))
  })
}

t.test('echo calls are counted, and compared with the floor', async (t) => {
  const file = join(t.testdir(), 'figures.json')
  const { code, stdout } = await bench('echo-1', '--target', 'stream', '--rounds', '1', '--calls', '50', '--json', file)
  t.equal(code, 0)
  const { results, goals } = JSON.parse(readFileSync(file, 'utf8')) as Report
  const echo = results['echo-1']
  t.same(Object.keys(echo ?? {}), ['floor', 'stream'])
  for (const figures of Object.values(echo ?? {})) {
    t.match(figures, { 'calls/s': Number, 'CPU ms/1,000': Number, 'p50 ms': Number, 'p99 ms': Number, failed: 0, errors: [] })
  }
  t.match(stdout, /^\| stream \| .* \| 0 \|$/m)
  t.same(goals, [], 'no goal is judged by what was not measured')
})

t.test('a target that cannot run fails, with the reason', async (t) => {
  const file = join(t.testdir(), 'figures.json')
  const { code, stdout } = await bench('slow', '--target', 'session', '--rounds', '1', '--calls', '101', '--json', file)
  t.equal(code, 0)
  const { results } = JSON.parse(readFileSync(file, 'utf8')) as Report
  t.match(results['slow'], { floor: { failed: 0 }, session: { failed: 1, errors: [/101 child processes/] } })
  t.match(stdout, /^- session: not run/m)
})

t.test('what there is not is refused with 2', async (t) => {
  for (const args of [['echo-2'], ['echo-1', '--target', 'peer'], ['--rounds', '0'], ['--round', '1']]) {
    const { code, stdout, stderr } = await bench(...args)
    t.equal(code, 2, args.join(' '))
    t.equal(stdout, '')
    t.match(stderr, /Try pnpm bench --help/)
  }
})

t.test('--help names scenarios and targets', async (t) => {
  const { code, stdout } = await bench('--help')
  t.equal(code, 0)
  t.match(stdout, /echo-64-on-16[^]*supergateway-4\.0\.0\/stateless/)
})
