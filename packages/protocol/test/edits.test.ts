import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import fc from 'fast-check'
import { Message, type Path } from '@mcp-proxy/protocol'

const RUNS = { numRuns: 1000 }

type Json = Record<string, unknown>
type Member = readonly [name: string, value: string]

const WATCHED = ['jsonrpc', 'id', 'method', 'params', 'result', 'error']
const NAMES = ['_meta', 'progressToken', 'requestId', 'name', 'nama', 'uri', 'urj', '_metb', 'x', '']

/** Strings about as long as those that are looked at byte by byte, with what ends or does not end them near their ends. */
const border = fc.tuple(fc.nat(52), fc.array(fc.constantFrom('"', '\\', '\\"', '\\\\', '{', '}', '[', ']', ',', ':', 'é', '\u2028', 'a'), { maxLength: 8 }), fc.nat(12))
  .map(([before, odd, behind]) => 'a'.repeat(before) + odd.join('') + 'b'.repeat(behind))
const text = fc.oneof(border, fc.constantFrom('"id":1', '{"params":{', '}', '"_meta":'), fc.string({ unit: 'binary', maxLength: 60 }))
const space = fc.constantFrom('', '', ' ', '\t', '  ')
const name = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...NAMES) }, { weight: 1, arbitrary: text })
const scalar = fc.oneof(text.map(value => JSON.stringify(value)), fc.constantFrom('0', '-1.5e3', 'true', 'null', '9007199254740993', '""', '{}', '[]', '{ }', '[{"id":[]}]'))

/** A name as JSON text, sometimes with one of its characters escaped. */
const spelled = (plain: string): fc.Arbitrary<string> => fc.nat(20).map((at) => {
  const unit = plain.charCodeAt(at)
  return Number.isNaN(unit) ? JSON.stringify(plain) : `"${JSON.stringify(plain.slice(0, at)).slice(1, -1)}\\u${unit.toString(16).padStart(4, '0')}${JSON.stringify(plain.slice(at + 1)).slice(1, -1)}"`
})

const joined = (members: ReadonlyArray<Member>): fc.Arbitrary<string> =>
  fc.tuple(fc.array(space, { minLength: 8, maxLength: 8 }), ...members.map(([plain]) => fc.oneof(fc.constant(JSON.stringify(plain)), spelled(plain)))).map(([gaps, ...names]) => {
    const gap = (at: number): string => gaps[at % 8] as string
    return `{${gap(0)}${members.map(([, value], at) => `${names[at] as string}${gap(at + 1)}:${gap(at + 2)}${value}${gap(at + 3)}`).join(`,${gap(4)}`)}}`
  })

const objectOf = (value: fc.Arbitrary<string>, more: fc.Arbitrary<Member[]> = fc.constant([])): fc.Arbitrary<string> =>
  fc.tuple(fc.array(fc.tuple(name, value), { maxLength: 4 }), more).chain(([members, others]) => fc.shuffledSubarray([...members, ...others], { minLength: members.length + others.length }).chain(joined))

const meta = objectOf(scalar, fc.constantFrom([], [['progressToken', '"t"']], [['progressToken', '7']]))
const metas = fc.oneof({ weight: 4, arbitrary: meta }, { weight: 1, arbitrary: scalar })
const params = objectOf(fc.oneof(scalar, objectOf(scalar)), fc.array(metas.map((value): Member => ['_meta', value]), { maxLength: 2 }))

/** A message of a server: what it repeats counts the last time. */
const written = fc.record({
  params: fc.array(fc.oneof({ weight: 5, arbitrary: params }, { weight: 1, arbitrary: scalar }), { maxLength: 2 }),
  id: fc.option(fc.oneof(fc.integer().map(String), text.map(value => JSON.stringify(value))), { nil: undefined }),
  answer: fc.boolean(),
  others: fc.array(fc.tuple(name, scalar), { maxLength: 2 }),
}).chain(({ params, id, answer, others }) => {
  const kind: Member[] = answer ? [['id', id ?? '1'], ['result', params[0] ?? '{}']] : [['method', '"m"'], ...params.map((value): Member => ['params', value]), ...(id === undefined ? [] : [['id', id] as const])]
  const all: Member[] = [['jsonrpc', '"2.0"'], ...kind, ...others]
  return fc.shuffledSubarray(all, { minLength: all.length }).chain(joined)
})

const members = fc.array(fc.tuple(fc.constantFrom(...NAMES), fc.option(fc.oneof(scalar, meta), { nil: undefined })), { minLength: 1, maxLength: 3 }).map(list => Object.fromEntries(list) as Record<string, string | undefined>)
const place: fc.Arbitrary<Path> = fc.constantFrom([], ['params'], ['params', '_meta'], ['params', '_meta', 'x'], ['result'], ['result', '_meta'])
const value: fc.Arbitrary<Path> = fc.constantFrom(['params'], ['params', '_meta'], ['params', '_meta', 'progressToken'], ['params', 'name'], ['params', 'requestId'], ['result'], ['result', '_meta'], ['x'])

type Step = { readonly edit: Path, readonly members: Record<string, string | undefined> } | { readonly rewrite: string | undefined, readonly path: Path, readonly text: string }
const steps: fc.Arbitrary<Step[]> = fc.array(fc.oneof(
  fc.record({ edit: place, members }),
  fc.record({ rewrite: fc.option(fc.oneof(fc.integer().map(String), text.map(one => JSON.stringify(one))), { nil: undefined }), path: value, text: fc.oneof(scalar, meta) })
), { maxLength: 4 })

const isObject = (one: unknown): one is Json => one !== null && typeof one === 'object' && !Array.isArray(one)

function set (object: Json, name: string, text: string): void {
  Object.defineProperty(object, name, { value: JSON.parse(text), configurable: true, enumerable: true, writable: true })
}

function at (message: Json, path: Path): unknown {
  let one: unknown = message
  for (const name of path) one = isObject(one) && Object.hasOwn(one, name) ? one[name] : undefined
  return one
}

/** The same, done to the parsed message. */
function apply (message: Json, step: Step): void {
  if ('edit' in step) {
    const changed = Object.entries(step.members)
    let object: unknown = message
    for (const name of step.edit) {
      if (!isObject(object)) return
      if (!Object.hasOwn(object, name)) {
        if (!changed.some(([, text]) => text !== undefined)) return
        set(object, name, '{}')
      }
      object = object[name]
    }
    if (!isObject(object)) return
    for (const [name, text] of changed) {
      if (text === undefined) Reflect.deleteProperty(object, name)
      else set(object, name, text)
    }
  } else {
    const last = step.path.at(-1) as string
    const holder = at(message, step.path.slice(0, -1))
    if (isObject(holder) && Object.hasOwn(holder, last)) set(holder, last, step.text)
    if (step.rewrite !== undefined && Object.hasOwn(message, 'id')) set(message, 'id', step.rewrite)
  }
}

t.test('whatever is done to a message is what the same does to the parsed object', async () => {
  fc.assert(fc.property(written, steps, (line, steps) => {
    let message = Message.read(Buffer.from(line)) as Message
    const model = JSON.parse(line) as Json
    for (const step of steps) {
      message = 'edit' in step ? message.edit(step.edit, step.members) : message.rewrite(step.rewrite, [[step.path, step.text]])
      apply(model, step)
      const text = message.bytes.toString()
      if (!isDeepStrictEqual(JSON.parse(text), model)) throw new Error(`${text} is not ${JSON.stringify(model)}`)
      for (const path of [['params'], ['params', '_meta'], ['params', '_meta', 'progressToken'], ['params', 'requestId'], ['result', '_meta']]) {
        const raw = message.raw(path)
        const wanted = at(model, path)
        if (!isDeepStrictEqual(raw === undefined ? undefined : JSON.parse(raw), wanted) || !isDeepStrictEqual(message.value(path), wanted)) throw new Error(`${path.join('.')} of ${text} is ${raw}`)
      }
      const { paramsStart } = message
      if ((paramsStart !== undefined) !== Object.hasOwn(model, 'params')) throw new Error(`params of ${text} start at ${paramsStart}`)
      if (paramsStart !== undefined) {
        const end = paramsStart + Buffer.byteLength(message.raw(['params']) as string)
        const replaced = JSON.parse(Buffer.concat([message.bytes.subarray(0, paramsStart), Buffer.from('"here"'), message.bytes.subarray(end)]).toString()) as Json
        if (replaced['params'] !== 'here') throw new Error(`params of ${text} do not start at ${paramsStart}`)
      }
      if (step === steps.at(-1) && 'rewrite' in step && step.rewrite !== undefined && Object.hasOwn(model, 'id') && JSON.parse(message.rawId as string) !== model['id']) throw new Error(`the id of ${text} is ${message.rawId}`)
    }
  }), RUNS)
})

t.test('members are put before all others of a result', async () => {
  fc.assert(fc.property(params, fc.boolean(), (result, first) => {
    const line = first ? `{"id":1,"result":${result},"jsonrpc":"2.0"}` : `{"result" : ${result},"jsonrpc":"2.0","id":1}`
    const message = (Message.read(Buffer.from(line)) as Message).prependToResult('"first!":1')
    const expected = JSON.parse(line) as Json
    set(expected['result'] as Json, 'first!', '1')
    const moved = message.rewrite('22')
    return isDeepStrictEqual(JSON.parse(message.bytes.toString()), expected) && isDeepStrictEqual(JSON.parse(moved.bytes.toString()), { ...expected, id: 22 })
  }), RUNS)
})

/** Names that parsers which ignore case take for one of the watched ones. */
const loosely = (name: string, watched: string): boolean => new RegExp(`^${watched}$`, 'iu').test(name)

const variant = (names: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...names).chain(plain => fc.constantFrom(
  plain, plain, plain.toUpperCase(), plain.replace('s', 'ſ'), plain.replace('k', '\u212a'), `${plain}x`, plain.slice(1), plain.replace(/.$/, 'z'), plain.replace(/^./, first => first.toUpperCase())))

/** Refused, by the rule: each name once, and spelled exactly. */
const ambiguous = (names: readonly string[], watched: readonly string[]): boolean =>
  watched.some(one => names.some(name => name !== one && loosely(name, one)) || names.filter(name => name === one).length > 1)

t.test('a message of a client means one thing, or is refused', async () => {
  const token = fc.array(fc.tuple(variant(['progressToken', 'x']), fc.constant('1')), { maxLength: 2 }).chain(list => joined(list).map(text => ({ names: list.map(([name]) => name), text })))
  const below = fc.tuple(fc.constantFrom('tools/call', 'notifications/cancelled'), fc.array(fc.tuple(variant(['_meta', 'requestId', 'name']), token), { maxLength: 3 }))
    .chain(([method, list]) => joined(list.map(([name, { text }]) => [name, text])).map(text => ({
      method,
      text,
      bad: ambiguous(list.map(([name]) => name), method === 'tools/call' ? ['_meta'] : ['_meta', 'requestId']) || list.some(([name, { names }]) => name === '_meta' && ambiguous(names, ['progressToken'])),
    })))
  const message = fc.tuple(below, fc.array(variant(WATCHED.slice(0, 4)), { maxLength: 1 })).chain(([{ method, text, bad }, others]) => {
    const all: Member[] = [['jsonrpc', '"2.0"'], ['id', '1'], ['method', JSON.stringify(method)], ['params', text], ...others.map((name): Member => [name, name === 'jsonrpc' ? '"2.0"' : name === 'method' ? JSON.stringify(method) : name === 'params' ? text : '2'])]
    return fc.shuffledSubarray(all, { minLength: all.length }).chain(joined).map(line => ({ line, refused: bad || ambiguous(all.map(([name]) => name), WATCHED) }))
  })
  fc.assert(fc.property(message, ({ line, refused }) => {
    let message: Message | undefined
    try {
      message = Message.parse(Buffer.from(line)) as Message
    } catch {}
    if ((message === undefined) !== refused) throw new Error(`${line} was ${refused ? 'taken' : 'refused'}`)
    return message === undefined || isDeepStrictEqual(JSON.parse(message.rewrite('5').bytes.toString()), { ...JSON.parse(line) as Json, id: 5 })
  }), RUNS)
})
