import t from 'tap'
import fc from 'fast-check'
import { Message, REQUEST_PROGRESS_TOKEN, idKey } from '@mcp-proxy/protocol'

const RUNS = { numRuns: 300 }

const id = fc.oneof(fc.integer(), fc.bigInt({ min: 2n ** 53n, max: 2n ** 70n }), fc.string({ unit: 'binary' }).map(text => JSON.stringify(text))).map(String)
const space = fc.array(fc.constantFrom(' ', '\t', '\r', '\n'), { maxLength: 3 }).map(parts => parts.join(''))
const json = fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' })
const object = fc.dictionary(fc.string({ unit: 'binary' }), json, { maxKeys: 5 })

/** Members that make a message of each kind, as JSON text. */
const members = fc.oneof(
  fc.record({ id, method: fc.string().map(text => JSON.stringify(text)), params: object.map(value => JSON.stringify(value)) }, { requiredKeys: ['id', 'method'] }),
  fc.record({ method: fc.string().map(text => JSON.stringify(text)), params: object.map(value => JSON.stringify(value)) }, { requiredKeys: ['method'] }),
  fc.record({ id, result: json.map(value => JSON.stringify(value)) }),
  fc.record({ id, error: json.map(value => JSON.stringify(value)) })
)

interface Written {
  text: string
  members: { id?: string, method?: string, params?: string, result?: string, error?: string }
}

/** A message with its members in any order, others among them, and any white space between tokens. */
const written: fc.Arbitrary<Written> = fc.tuple(members, fc.dictionary(fc.string({ minLength: 8 }), json, { maxKeys: 2 }), fc.infiniteStream(space), fc.infiniteStream(fc.nat())).map(([members, others, spaces, order]) => {
  const gap = (): string => spaces.next().value
  const list = [['jsonrpc', '"2.0"'], ...Object.entries(members), ...Object.entries(others).map(([name, value]) => [name, JSON.stringify(value)])]
    .map(member => ({ member, rank: order.next().value })).sort((a, b) => a.rank - b.rank).map(({ member }) => member)
  const body = list.map(([name, value]) => `${gap()}${JSON.stringify(name)}${gap()}:${gap()}${value}${gap()}`).join(',')
  return { text: `${gap()}{${body}}${gap()}`, members }
})

const oneLine = (text: string): string => text.replace(/[\r\n]/g, ' ')

t.test('any message from a client keeps its bytes but for line breaks between tokens', async () => {
  fc.assert(fc.property(written, ({ text, members }) => {
    const message = Message.parse(Buffer.from(text)) as Message
    return message.bytes.toString() === oneLine(text) &&
      message.rawId === (members.id === undefined ? undefined : idKey(members.id)) &&
      message.method === (members.method === undefined ? undefined : JSON.parse(members.method))
  }), RUNS)
})

t.test('any message from a server is read as a parse of it would read it', async () => {
  fc.assert(fc.property(written, ({ text, members }) => {
    const message = Message.read(Buffer.from(text))
    if (message === undefined) return false
    const parsed = JSON.parse(text) as Record<string, unknown>
    const kind = parsed['method'] === undefined ? 'response' : parsed['id'] === undefined ? 'notification' : 'request'
    return message.kind === kind && message.method === parsed['method'] && message.bytes.toString() === text &&
      message.rawId === (members.id === undefined ? undefined : idKey(members.id))
  }), RUNS)
})

t.test('an id that is replaced and put back gives the same bytes', async () => {
  fc.assert(fc.property(written, id, ({ text, members }, other) => {
    if (members.id === undefined) return
    for (const message of [Message.read(Buffer.from(text)), Message.parse(Buffer.from(text)) as Message]) {
      if (message === undefined) return false
      const back = message.rewrite(other).rewrite(members.id)
      if (!back.bytes.equals(message.bytes)) return false
    }
  }), RUNS)
})

t.test('a message whose id was replaced is equal to the original but for its id', async () => {
  fc.assert(fc.property(written, id, ({ text, members }, other) => {
    const message = Message.read(Buffer.from(text))
    const expected = JSON.parse(text) as Record<string, unknown>
    if (members.id !== undefined) expected['id'] = JSON.parse(other)
    return JSON.stringify(JSON.parse(message?.rewrite(other).bytes.toString() ?? '')) === JSON.stringify(expected)
  }), RUNS)
})

t.test('a progress token is replaced wherever it stands', async () => {
  fc.assert(fc.property(id, id, id, object, (first, token, other, rest) => {
    const meta = JSON.stringify({ ...rest, progressToken: '@' }).replace('"@"', () => token)
    const text = `{"method":"m","params":{"_meta":${meta},"x":${JSON.stringify(rest)}},"jsonrpc":"2.0","id":${first}}`
    const message = Message.parse(Buffer.from(text)) as Message
    const changed = message.rewrite('1', [[REQUEST_PROGRESS_TOKEN, other]])
    return changed.raw(REQUEST_PROGRESS_TOKEN) === other && changed.rewrite(first, [[REQUEST_PROGRESS_TOKEN, token]]).bytes.toString() === text
  }), RUNS)
})

t.test('bytes that are cut short or overwritten never make a throw or another id', async () => {
  fc.assert(fc.property(written, fc.nat(), fc.option(fc.nat(255)), ({ text }, at, byte) => {
    const bytes = Buffer.from(text)
    const place = at % bytes.length
    if (byte === null) {
      const cut = bytes.subarray(0, place)
      return Message.read(Buffer.from(cut)) === undefined || cut.toString().trimEnd() === text.trimEnd()
    }
    bytes[place] = byte
    Message.read(bytes)?.rewrite('1')
  }), RUNS)
})
