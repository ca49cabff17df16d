import { PEERS, TARGETS } from './targets.mjs'

/** Figures that are compared with nothing: whose processor time the rest took, and shares. */
const PLAIN = new Set(['child CPU', 'load CPU', 'delivered %'])

/** A scenario's results in Markdown: each figure, its ratio to the floor, and of the main figure that to each peer. */
export function scenarioTable (name, { about, main }, results) {
  const names = [...new Set(Object.values(results).flatMap(Object.keys))].filter(figure => figure !== 'errors' && figure !== 'failed')
  const peers = PEERS.filter(peer => Object.keys(results).some(target => target.startsWith(`${peer}/`)))
  const head = ['target']
  for (const figure of names) {
    head.push(figure)
    if (!PLAIN.has(figure)) head.push('× floor')
    if (figure === main) head.push(...peers.map(peer => `× ${peer.replace(/-(?=\d)/, ' ')}`))
  }
  head.push('failed')
  const rows = Object.entries(results).map(([target, figures]) => {
    const cells = [target]
    for (const figure of names) {
      cells.push(number(figures[figure]))
      if (!PLAIN.has(figure)) cells.push(ratio(figures, results.floor, figure))
      if (figure === main) cells.push(...peers.map(peer => ratio(figures, results[TARGETS[target]?.peers?.[peer]], figure)))
    }
    return [...cells, String(figures.failed)]
  })
  const errors = Object.entries(results).filter(([, { errors }]) => errors.length > 0).map(([target, { errors }]) => `- ${target}: ${errors.join('; ')}`)
  return [`\n## ${name}: ${about}\n`, markdown(head, rows), ...(errors.length > 0 ? ['', ...errors] : [])].join('\n')
}

export function goalTable (goals) {
  return ['\n## Goals\n', markdown(['goal', 'at most or least', 'measured', 'met'], goals.map(({ goal, bound, measured, met }) => [goal, bound, number(measured), met]))].join('\n')
}

function markdown (head, rows) {
  return [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

/** What failed is compared with nothing. */
function ratio (own, other, figure) {
  const comparable = own.failed === 0 && other?.failed === 0 && own[figure] !== undefined && other[figure] > 0
  return comparable ? number(own[figure] / other[figure]) : '–'
}

function number (value) {
  if (value === undefined) return '–'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return Math.abs(value) < 0.01 ? String(Number(value.toFixed(4))) : value.toPrecision(3)
}
