/**
 * Which goals are met: `yes`, `no`, or `not measured`. A ratio to something that failed says nothing, and a target that failed
 * anything has not reached its goal.
 */
export function judge (goals, results) {
  return goals.map(({ goal, scenario, figure, target, of = [], most, least }) => {
    const own = results[scenario]?.[target]
    const others = of.map(name => results[scenario]?.[name])
    const comparable = others.every(other => other?.failed === 0 && other[figure] > 0)
    const measured = own?.[figure] === undefined || !comparable ? undefined : own[figure] / (others.length === 0 ? 1 : sum(others.map(other => other[figure])))
    const reached = (most === undefined || measured <= most) && (least === undefined || measured >= least)
    return { goal, bound: boundOf(most, least, of), measured, met: metBy(own, measured, reached) }
  })
}

function metBy (own, measured, reached) {
  if (own?.failed > 0) return `no: ${own.failed} failed`
  if (measured === undefined) return 'not measured'
  return reached ? 'yes' : 'no'
}

function boundOf (most, least, of) {
  const bound = most === undefined ? `≥ ${least}` : `≤ ${Number(most.toFixed(3))}`
  return of.length === 0 ? bound : `${bound} × ${of.length === 1 ? of[0] : `(${of.join(' + ')})`}`
}

function sum (values) {
  return values.reduce((total, value) => total + value, 0)
}
