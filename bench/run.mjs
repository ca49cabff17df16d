// `pnpm bench [scenario …] [--target name …] [--rounds 3] [--json file]`: medians of interleaved rounds, and how they
// compare with the floor. Every round starts every target anew.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { median } from './measure.mjs'
import { SCENARIOS } from './scenarios.mjs'
import { TARGETS, start } from './targets.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { target: { type: 'string', multiple: true }, rounds: { type: 'string', default: '3' }, json: { type: 'string' } },
})
const chosen = choose(positionals, SCENARIOS, 'scenario')
const targets = choose(values.target === undefined ? [] : ['floor', ...values.target], TARGETS, 'target')

function choose (names, all, what) {
  const unknown = names.find(name => !Object.hasOwn(all, name))
  if (unknown !== undefined) {
    console.error(`There is no ${what} "${unknown}". There are: ${Object.keys(all).join(', ')}`)
    process.exit(2)
  }
  return names.length === 0 ? Object.keys(all) : [...new Set(names)]
}

const results = {}
for (const scenario of chosen) {
  const rounds = {}
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of targets) {
      const figures = await measure(scenario, name)
      rounds[name] ??= []
      rounds[name].push(figures)
    }
  }
  results[scenario] = Object.fromEntries(Object.entries(rounds).map(([name, all]) => [name, summarize(all)]))
  print(scenario, results[scenario])
}
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify({ node: process.version, date: new Date().toISOString(), results }, null, 2) + '\n')

async function measure (scenario, name) {
  let target
  try {
    target = await start(name)
    return await SCENARIOS[scenario](target)
  } catch (error) {
    return { failed: 1, error: String(error) }
  } finally {
    await target?.stop()
  }
}

/** Medians; failures are added up. */
function summarize (rounds) {
  const names = [...new Set(rounds.flatMap(Object.keys))].filter(name => name !== 'error' && name !== 'failed')
  const figures = Object.fromEntries(names.map(name => [name, median(rounds.map(round => round[name]).filter(value => value !== undefined))]))
  const errors = [...new Set(rounds.map(({ error }) => error).filter(error => error !== undefined))]
  return { ...figures, failed: rounds.reduce((sum, { failed }) => sum + failed, 0), ...(errors.length > 0 && { errors }) }
}

function print (scenario, results) {
  const names = [...new Set(Object.values(results).flatMap(Object.keys))].filter(name => name !== 'errors')
  const { floor } = results
  console.log(`\n## ${scenario}\n`)
  console.log(`| target | ${names.map(name => name === 'failed' ? name : `${name} | ×floor`).join(' | ')} |`)
  console.log(`| --- |${names.map(name => name === 'failed' ? ' --- |' : ' --- | --- |').join('')}`)
  for (const [target, figures] of Object.entries(results)) {
    const cells = names.map((name) => {
      const value = figures[name]
      if (name === 'failed') return String(value)
      return value === undefined ? '– | –' : `${round(value)} | ${floor?.[name] > 0 ? round(value / floor[name]) : '–'}`
    })
    console.log(`| ${target} | ${cells.join(' | ')} |`)
  }
  for (const [target, { errors }] of Object.entries(results)) if (errors !== undefined) console.log(`\n${target}: ${errors.join('; ')}`)
}

function round (value) {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}
