import { parseArgs } from 'node:util'
import { SCENARIOS } from './scenarios.mjs'
import { TARGETS } from './targets.mjs'

const list = entries => Object.entries(entries).map(([name, { about }]) => `  ${name}${about === undefined ? '' : `${' '.repeat(Math.max(1, 16 - name.length))}${about}`}`).join('\n')

const HELP = `pnpm bench [scenario …] [flags]

  --target NAME     measure this one beside the floor; may be repeated; "NAME/" is all that begin so. Default: all
  --rounds N        rounds of all targets, whose medians are shown. Default: 3
  --calls N         calls (or sessions, notifications, starts) that are measured. Default: the scenario's
  --sessions N,N    steps of the scenarios idle and heap. Default: 200,2000
  --seconds N       most that a warm-up, and the measured part, may take. Default: 8
  --json FILE       write the figures there, too

Scenarios (all, when none is named):
${list(SCENARIOS)}

Targets:
${list(TARGETS)}
`

/** What was asked for, or ends the process: 0 for help, 2 for what there is not. */
export function readOptions (args) {
  const { values, positionals } = parse(args)
  if (values.help) {
    process.stdout.write(HELP)
    process.exit(0)
  }
  return {
    scenarios: positionals.length === 0 ? Object.keys(SCENARIOS) : [...new Set(positionals.flatMap(name => choose(name, SCENARIOS, 'scenario')))],
    targets: values.target === undefined ? Object.keys(TARGETS) : [...new Set(['floor', ...values.target.flatMap(name => choose(name, TARGETS, 'target'))])],
    all: positionals.length === 0 && values.target === undefined,
    rounds: count(values.rounds, 'rounds') ?? 3,
    json: values.json,
    calls: count(values.calls, 'calls'),
    seconds: count(values.seconds, 'seconds') ?? 8,
    sessions: values.sessions?.split(',').map(step => count(step, 'sessions')),
  }
}

function parse (args) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        target: { type: 'string', multiple: true },
        rounds: { type: 'string' },
        calls: { type: 'string' },
        sessions: { type: 'string' },
        seconds: { type: 'string' },
        json: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    return refuse(error.message)
  }
}

function choose (name, all, what) {
  const names = Object.keys(all).filter(known => known === name || (name.endsWith('/') && known.startsWith(name)))
  return names.length > 0 ? names : refuse(`There is no ${what} "${name}". There are: ${Object.keys(all).join(', ')}`)
}

function count (text, name) {
  if (text === undefined) return undefined
  const value = Number(text)
  return Number.isInteger(value) && value > 0 ? value : refuse(`--${name} takes a whole number from 1 on, not "${text}"`)
}

function refuse (why) {
  process.stderr.write(`${why}\nTry pnpm bench --help\n`)
  process.exit(2)
}
