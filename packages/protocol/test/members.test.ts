import t from 'tap'
import fc from 'fast-check'
import { Message, type JsonRpcMessage } from '@mcp-proxy/protocol'

const read = (line: string): Message => Message.read(Buffer.from(line)) as Message
const text = (message: Message): string => message.bytes.toString()

t.test('members are set, replaced and taken out; what stands beside them keeps its bytes', async (t) => {
  const message = read('{"jsonrpc":"2.0","id":1,"method":"m","params":{"n": 1.0,"_meta":{"a":"x","b":90071992547409931,"c":[ ]}}}')
  t.equal(text(message.edit(['params', '_meta'], { a: undefined, d: 'true' })), '{"jsonrpc":"2.0","id":1,"method":"m","params":{"n": 1.0,"_meta":{"b":90071992547409931,"c":[ ],"d":true}}}')
  t.equal(text(message.edit(['params', '_meta'], { b: '"y"' })), '{"jsonrpc":"2.0","id":1,"method":"m","params":{"n": 1.0,"_meta":{"a":"x","c":[ ],"b":"y"}}}')
  t.equal(text(message.edit(['params'], { _meta: undefined })), '{"jsonrpc":"2.0","id":1,"method":"m","params":{"n": 1.0}}')
})

t.test('members that are taken out leave the commas that the others need', async (t) => {
  const message = read('{"jsonrpc":"2.0","method":"m","params":{ "a" : 1 , "b" : 2 , "c" : 3 , "d" : 4 }}')
  for (const [out, params] of [
    ['a', '{"b" : 2 , "c" : 3 , "d" : 4 }'],
    ['b', '{ "a" : 1 , "c" : 3 , "d" : 4 }'],
    ['d', '{ "a" : 1 , "b" : 2 , "c" : 3 }'],
    ['ac', '{"b":2,"d" : 4 }'],
    ['ad', '{"b":2,"c":3 }'],
    ['bd', '{ "a" : 1,"c":3 }'],
    ['abcd', '{ }'],
  ] as const) t.equal(message.edit(['params'], Object.fromEntries([...out].map(name => [name, undefined]))).raw(['params']), params, out)
  t.equal(message.edit(['params'], { x: undefined }), message)
})

t.test('objects on the way are made where they are missing, and not for nothing', async (t) => {
  const bare = read('{"jsonrpc":"2.0","id":1,"method":"m"}')
  t.equal(text(bare.edit(['params', '_meta'], { a: '1' })), '{"params":{"_meta":{"a":1}},"jsonrpc":"2.0","id":1,"method":"m"}')
  t.equal(bare.edit(['params', '_meta'], { a: undefined }), bare)
  const empty = read('{"jsonrpc":"2.0","id":1,"method":"m","params":{ }}')
  t.equal(text(empty.edit(['params', '_meta'], { a: '1' })), '{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"a":1} }}')
  const odd = read('{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":7}}')
  t.equal(odd.edit(['params', '_meta'], { a: '1' }), odd, 'a value that is no object stays')
})

t.test('a second spelling of a name is the same member', async (t) => {
  t.equal(text(read(String.raw`{"jsonrpc":"2.0","method":"m","params":{"\u0061":1,"b":2}}`).edit(['params'], { a: undefined })), '{"jsonrpc":"2.0","method":"m","params":{"b":2}}')
})

t.test('an edited message keeps what it is', async (t) => {
  const edited = read('{"method":"m","params":{"a":1},"jsonrpc":"2.0","id":"x"}').edit(['params'], { b: '2' })
  t.strictSame([edited.kind, edited.method, edited.rawId, edited.params], ['request', 'm', '"x"', { a: 1, b: 2 }])
  t.equal(text(edited.rewrite('7')), '{"method":"m","params":{"a":1,"b":2},"jsonrpc":"2.0","id":7}', 'and its id can be replaced after that')
})

t.test('members go before all others of a result', async (t) => {
  const result = '"resultType":"complete","ttlMs":0'
  for (const [before, after] of [
    ['{"jsonrpc":"2.0","id":1,"result":{}}', '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":0}}'],
    ['{"result":{"a":1},"jsonrpc":"2.0","id":1}', '{"result":{"resultType":"complete","ttlMs":0,"a":1},"jsonrpc":"2.0","id":1}'],
    ['{"jsonrpc":"2.0","id":1,"result": { }}', '{"jsonrpc":"2.0","id":1,"result": {"resultType":"complete","ttlMs":0 }}'],
  ] as const) t.equal(text(read(before).prependToResult(result)), after)
  const failed = read('{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}')
  t.equal(failed.prependToResult(result), failed)
})

t.test('any message is edited as an object would be', async () => {
  const key = fc.oneof(fc.constantFrom('a', 'b', 'c'), fc.string())
  fc.assert(fc.property(fc.dictionary(key, fc.jsonValue()), key, fc.option(fc.jsonValue(), { nil: undefined }), (params, name, value) => {
    fc.pre(name !== '__proto__' && !Object.hasOwn(params, '__proto__'))
    const before: JsonRpcMessage = { jsonrpc: '2.0', id: 1, method: 'm', params }
    const after = Message.from(before).edit(['params'], { [name]: value === undefined ? undefined : JSON.stringify(value) })
    const { [name]: _, ...rest } = params
    const expected = value === undefined ? rest : { ...rest, [name]: value }
    return JSON.stringify(sorted(JSON.parse(after.bytes.toString()).params)) === JSON.stringify(sorted(JSON.parse(JSON.stringify(expected))))
  }))
})

function sorted (value: Record<string, unknown>): unknown {
  return Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1)
}

t.test('a request loses its _meta, however it is written, and keeps all other bytes', async (t) => {
  const parse = (body: string): Message => Message.parse(Buffer.from(body)) as Message
  for (const [before, after] of [
    ['{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1,"_meta":{"x":{"y":"}"}}}}', '{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1}}'],
    ['{"method":"m","params":{"a":1,"_meta":{},"b":2},"jsonrpc":"2.0","id":1}', '{"method":"m","params":{"a":1,"b":2},"jsonrpc":"2.0","id":1}'],
    ['{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{},"b":2}}', '{"jsonrpc":"2.0","id":1,"method":"m","params":{"b":2}}'],
    ['{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{}}}', '{"jsonrpc":"2.0","id":1,"method":"m","params":{}}'],
    ['{"jsonrpc":"2.0","id":1,"method":"m","params":{"a": 1 , "_meta" : {} }}', '{"jsonrpc":"2.0","id":1,"method":"m","params":{"a": 1 }}'],
    [String.raw`{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"x\",\"_meta\":1","\u005fmeta":{}}}`, String.raw`{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"x\",\"_meta\":1"}}`],
    ['{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":{"b":1,"_meta":{}}}}', '{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":{"b":1,"_meta":{}}}}'],
  ] as const) {
    const bare = parse(before).withoutMeta()
    t.equal(text(bare), after)
    t.strictSame(bare.params, (JSON.parse(after) as { params: object }).params)
    t.equal(text(bare.rewrite('"other"')), after.replace('"id":1', '"id":"other"'))
  }
})
