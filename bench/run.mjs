// `pnpm bench`: medians of interleaved rounds, and how they compare with the floor and the peers. See README.md.
import { writeFileSync } from 'node:fs'
import { GOALS } from './goals.mjs'
import { judge } from './judge.mjs'
import { median } from './measure.mjs'
import { readOptions } from './options.mjs'
import { start } from './program.mjs'
import { SCENARIOS } from './scenarios.mjs'
import { goalTable, scenarioTable } from './table.mjs'
import { REFERENCES, TARGETS } from './targets.mjs'

const MAX_CHILDREN = 100
const TIME_LIMIT = 90_000 // ms, for one target in one round

const options = readOptions(process.argv.slice(2))
const results = {}
for (const name of options.scenarios) {
  results[name] = await measureAll(name)
  console.log(scenarioTable(name, SCENARIOS[name], results[name]))
}
// a part of them is judged by what was measured
const goals = judge(GOALS, results).filter(({ met }) => options.all || met !== 'not measured')
if (goals.length > 0) console.log(goalTable(goals))
if (options.json !== undefined) {
  writeFileSync(options.json, JSON.stringify({ node: process.version, date: new Date().toISOString(), rounds: options.rounds, results, goals }, null, 2) + '\n')
}

async function measureAll (scenario) {
  const targets = Object.fromEntries(options.targets.map(name => [name, TARGETS[name]]))
  for (const name of SCENARIOS[scenario].references ?? []) targets[name] = REFERENCES[name]
  const rounds = new Map(Object.keys(targets).map(name => [name, []]))
  for (let round = 0; round < options.rounds; round++) {
    // what runs behind what must not be the same each time
    for (const name of shuffled(Object.keys(targets))) {
      const done = rounds.get(name)
      // what could not run is not tried again
      if (done.at(-1)?.stopped !== true) done.push(await measure(SCENARIOS[scenario], name, targets[name]))
    }
  }
  return Object.fromEntries([...rounds].map(([name, all]) => [name, summarize(all)]))
}

async function measure (scenario, name, target) {
  const running = []
  const launch = async (how) => {
    const program = await start(name, target, how)
    running.push(program)
    return program
  }
  let timer
  try {
    const children = scenario.children?.(options)[target.children] ?? 0
    if (children > MAX_CHILDREN) throw new Error(`not run: it would take ${children.toLocaleString('en')} child processes, and ${MAX_CHILDREN} is the most`)
    const late = new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no end within ${TIME_LIMIT / 1000} s`)), TIME_LIMIT)
    })
    return await Promise.race([scenario.run(launch, options), late])
  } catch (error) {
    return { failed: 1, errors: [error.message.split('\n', 1)[0]], stopped: true }
  } finally {
    clearTimeout(timer)
    await Promise.all(running.map(program => program.stop()))
  }
}

/** Medians; failures are added up. */
function summarize (rounds) {
  const names = [...new Set(rounds.flatMap(Object.keys))].filter(name => !['failed', 'errors', 'stopped'].includes(name))
  const values = name => rounds.map(round => round[name]).filter(value => value !== undefined)
  return {
    ...Object.fromEntries(names.filter(name => values(name).length > 0).map(name => [name, median(values(name))])),
    failed: rounds.reduce((sum, { failed }) => sum + failed, 0),
    errors: [...new Set(rounds.flatMap(({ errors = [] }) => errors))],
  }
}

function shuffled (names) {
  const left = [...names]
  return names.map(() => left.splice(Math.floor(Math.random() * left.length), 1)[0])
}
