const answers = new Map<string, boolean>()
const MAX_ANSWERS = 100

/** Whether an `Accept` header admits a media type (RFC 9110, 12.5.1; weights are not compared, `q=0` refuses). */
export function accepts (header: string | undefined, type: string): boolean {
  if (header === undefined || header === '') return true
  const question = `${type} ${header}`
  const known = answers.get(question)
  if (known !== undefined) return known
  const answer = judge(header, type)
  // a client always sends the same; whoever sends many different ones shall not fill the memory
  if (answers.size >= MAX_ANSWERS) answers.clear()
  answers.set(question, answer)
  return answer
}

function judge (header: string, type: string): boolean {
  const group = `${type.split('/', 1)[0]}/*`
  let best: { specificity: number, admitted: boolean } = { specificity: 0, admitted: false }
  for (const item of header.toLowerCase().split(',')) {
    const [range = '', ...parameters] = item.split(';').map(part => part.trim())
    const specificity = range === type ? 3 : range === group ? 2 : range === '*/*' ? 1 : 0
    if (specificity > best.specificity) best = { specificity, admitted: !parameters.some(parameter => /^q=0(\.0*)?$/.test(parameter)) }
  }
  return best.admitted
}
