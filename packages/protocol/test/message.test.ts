import t from 'tap'
import { CANCELLED_ID, Message, PROGRESS_TOKEN, REQUEST_PROGRESS_TOKEN, type JsonRpcMessage } from '@mcp-proxy/protocol'

const read = (line: string): Message | undefined => Message.read(Buffer.from(line))
const parse = (body: string | Buffer): Message | Message[] => Message.parse(Buffer.from(body))
const one = (body: string): Message => {
  const message = parse(body)
  if (Array.isArray(message)) throw new TypeError('a batch')
  return message
}

t.test('a message that is a request and a response at once is refused', async (t) => {
  for (const body of ['{"jsonrpc":"2.0","id":1,"method":"a","result":{}}', '{"jsonrpc":"2.0","method":"a","error":{"code":1,"message":"m"}}']) {
    t.throws(() => Message.parse(Buffer.from(body)), { code: 'MCP_ERR_INVALID_REQUEST', message: /at once/ })
  }
})

t.test('a message is a request, a notification or a response', async (t) => {
  const kinds = {
    '{"jsonrpc":"2.0","id":1,"method":"ping"}': 'request',
    '{"jsonrpc":"2.0","method":"notifications/x"}': 'notification',
    '{"jsonrpc":"2.0","id":1,"result":{}}': 'response',
    '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}': 'response',
  }
  for (const [text, kind] of Object.entries(kinds)) {
    t.equal(read(text)?.kind, kind, `from a server: ${text}`)
    t.equal(one(text).kind, kind, `from a client: ${text}`)
  }
})

t.test('a message reads like the object that it is', async (t) => {
  const object = { jsonrpc: '2.0', id: 'a', method: 'tools/call', params: { name: 'x', arguments: { n: [1, null] } } }
  const text = JSON.stringify(object)
  for (const message of [one(text), read(text) as Message, Message.from(object as JsonRpcMessage)]) {
    t.equal(message.jsonrpc, '2.0')
    t.equal(message.id, 'a')
    t.equal(message.rawId, '"a"')
    t.equal(message.method, 'tools/call')
    t.same(message.params, object.params)
    t.equal(message.result, undefined)
    t.equal(message.error, undefined)
    t.equal(JSON.stringify(message), text)
    t.equal(message.bytes.toString(), text)
  }
})

t.test('a message is taken over as it is', async (t) => {
  const message = one('{"jsonrpc":"2.0","method":"a"}')
  t.equal(Message.from(message), message)
})

t.test('messages that are made here have ids and values as given', async (t) => {
  t.equal(Message.request('7', 'a"b', '{"x":1}').bytes.toString(), '{"jsonrpc":"2.0","id":7,"method":"a\\"b","params":{"x":1}}')
  t.equal(Message.result('"x"', '{"n":1e999}').bytes.toString(), '{"jsonrpc":"2.0","id":"x","result":{"n":1e999}}')
  t.equal(Message.notification('n').bytes.toString(), '{"jsonrpc":"2.0","method":"n"}')
  t.equal(Message.notification('n', { a: 1 }).bytes.toString(), '{"jsonrpc":"2.0","method":"n","params":{"a":1}}')
  const error = Message.error('9007199254740993', { code: -32000, message: 'gone', data: { why: 'x' } })
  t.equal(error.bytes.toString(), '{"jsonrpc":"2.0","id":9007199254740993,"error":{"code":-32000,"message":"gone","data":{"why":"x"}}}')
  t.equal(error.rawId, '9007199254740993')
  t.same(error.error, { code: -32000, message: 'gone', data: { why: 'x' } })
  t.throws(() => Message.from({ jsonrpc: '1.0' } as unknown as JsonRpcMessage), TypeError)
})

t.test('what a client sends and is no JSON is refused as a parse error', async (t) => {
  const bodies: Record<string, string | Buffer> = {
    empty: '',
    'white space': ' \n',
    'an unclosed object': '{"jsonrpc":"2.0","method":"a"',
    'two messages in a row': '{"jsonrpc":"2.0","method":"a"}\n{"jsonrpc":"2.0","method":"b"}',
    'a line feed in a string': '{"jsonrpc":"2.0","method":"a\nb"}',
    'a carriage return in a string': '{"jsonrpc":"2.0","method":"a","params":{"x":"\r"}}',
    'NaN as a value': '{"jsonrpc":"2.0","method":"a","params":{"x":NaN}}',
    'bytes that are not UTF-8': Buffer.from('{"jsonrpc":"2.0","method":"a\xff"}', 'latin1'),
    'half a character': Buffer.concat([Buffer.from('{"jsonrpc":"2.0","method":"'), Buffer.from('é').subarray(0, 1), Buffer.from('"}')]),
    'a surrogate in UTF-8': Buffer.concat([Buffer.from('{"jsonrpc":"2.0","method":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
    'a byte order mark': '\ufeff{"jsonrpc":"2.0","method":"a"}',
    'UTF-16': Buffer.from('{"jsonrpc":"2.0","method":"a"}', 'utf16le'),
  }
  for (const [name, body] of Object.entries(bodies)) t.throws(() => parse(body), { code: 'MCP_ERR_PARSE', statusCode: 400, cause: Error }, name)
})

t.test('JSON that is no message is refused with what is wrong', async (t) => {
  const bodies = {
    null: /it is null/,
    true: /it is true/,
    7: /it is 7/,
    '"text"': /it is "text"/,
    '{}': /"jsonrpc" is missing/,
    '{"jsonrpc":"1.0","method":"a"}': /"jsonrpc" is "1\.0"/,
    '{"jsonrpc":2.0,"method":"a"}': /"jsonrpc" is 2/,
    '{"jsonrpc":"2.0"}': /neither "method" nor "id"/,
    '{"jsonrpc":"2.0","id":null,"method":"a"}': /"id" is null/,
    '{"jsonrpc":"2.0","id":{},"method":"a"}': /"id" is an object/,
    '{"jsonrpc":"2.0","id":[1],"method":"a"}': /"id" is an array/,
    '{"jsonrpc":"2.0","id":true,"method":"a"}': /"id" is true/,
    '{"jsonrpc":"2.0","method":7}': /"method" is 7/,
    '{"jsonrpc":"2.0","method":null}': /"method" is null/,
    '{"jsonrpc":"2.0","method":"a","params":[]}': /"params" is an array/,
    '{"jsonrpc":"2.0","method":"a","params":null}': /"params" is null/,
    '{"jsonrpc":"2.0","method":"a","params":"x"}': /"params" is "x"/,
    '{"jsonrpc":"2.0","id":1}': /one of "result" and "error"/,
    '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}': /one of "result" and "error"/,
    '{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}': /"id" stands twice/,
    '{"jsonrpc":"2.0","id":1,"method":"a","\\u0069d":2}': /"id" stands twice/,
    '{"jsonrpc":"2.0","method":"a","method":"b"}': /"method" stands twice/,
    '{"jsonrpc":"2.0","ID":1,"method":"a"}': /"ID" is not "id"/,
    '{"jsonrpc":"2.0","method":"a","paramſ":{}}': /"paramſ" is not "params"/,
    '{"jsonrpc":"2.0","method":"a","param\\u017f":{}}': /"paramſ" is not "params"/,
    '{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":1,"progressToken":2}}}': /"progressToken" stands twice/,
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"RequestId":2}}': /"RequestId" is not "requestId"/,
    '{"__proto__":{"jsonrpc":"2.0","method":"a"}}': /"jsonrpc" is missing/,
    '[]': /an empty batch/,
    '[1]': /it is 1/,
    '[{"jsonrpc":"2.0","method":"a"},[]]': /it is an array/,
    '[{"jsonrpc":"2.0","method":"a"},{}]': /"jsonrpc" is missing/,
    [`{"jsonrpc":"2.0","method":"a","params":"${'x'.repeat(100)}"}`]: /"params" is "x{39}…/,
  }
  for (const [body, message] of Object.entries(bodies)) t.throws(() => parse(body), { code: 'MCP_ERR_INVALID_REQUEST', statusCode: 400, message }, body)
})

t.test('__proto__ is a member like any other', async (t) => {
  const text = '{"jsonrpc":"2.0","id":1,"method":"a","params":{"__proto__":{"polluted":true},"constructor":1},"__proto__":{"polluted":true}}'
  const message = one(text)
  t.equal(message.bytes.toString(), text)
  t.equal(JSON.stringify(message), text)
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)
  t.equal(message.params?.['polluted'], undefined)
  t.equal(message.raw(['params', '__proto__', 'polluted']), 'true')
  t.equal(message.raw(['params', 'toString']), undefined)
})

t.test('line breaks between tokens become spaces, so that a body is one line', async (t) => {
  const message = one('{\r\n"jsonrpc":\r"2.0",\n\t"id":1,"method":"a"\n}\r\n')
  t.equal(message.bytes.toString(), '{  "jsonrpc": "2.0", \t"id":1,"method":"a" }  ')
  t.equal(message.rawId, '1')
  t.equal(message.rewrite('"z"').bytes.toString(), '{  "jsonrpc": "2.0", \t"id":"z","method":"a" }  ')
  t.equal(one('{"jsonrpc":"2.0","method":"a\\nb"}').method, 'a\nb', 'escaped line breaks stay')
})

t.test('a batch is its messages, with their own bytes', async (t) => {
  const messages = parse('\n[ {"jsonrpc":"2.0","id":1,"method":"a","params":{"x":"},{"}} ,\n{"id":"]","jsonrpc":"2.0","result":{}},{"jsonrpc":"2.0","method":"n"}]\n') as Message[]
  t.same(messages.map(({ kind, rawId }) => [kind, rawId]), [['request', '1'], ['response', '"]"'], ['notification', undefined]])
  t.same(messages.map(({ bytes }) => bytes.toString()), [
    '{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":"},{"}}',
    '{"id":"]","jsonrpc":"2.0","result":{}}',
    '{"jsonrpc":"2.0","method":"n"}',
  ])
  t.equal(messages[0]?.rewrite('22').bytes.toString(), '{"jsonrpc":"2.0","id":22,"method":"a","params":{"x":"},{"}}')
})

t.test('rewriting replaces the id and the named places and keeps the rest', async (t) => {
  const call = one('{"params":{"big":12345678901234567890,"_meta":{"progressToken":"mine","other":1.0}},"id":"c","method":"m","jsonrpc":"2.0"}')
  t.equal(call.rewrite('5', [[REQUEST_PROGRESS_TOKEN, '5']]).bytes.toString(),
    '{"params":{"big":12345678901234567890,"_meta":{"progressToken":5,"other":1.0}},"id":5,"method":"m","jsonrpc":"2.0"}')
  t.equal(call.raw(REQUEST_PROGRESS_TOKEN), '"mine"')
  t.equal(call.rewrite('"c"'), call, 'the same id is no change')
  t.equal(call.rewrite(undefined), call)
  t.equal(call.rewrite(undefined, [[CANCELLED_ID, '1']]), call, 'a place that is not there is left out')
  const again = call.rewrite('5').rewrite('600')
  t.equal(again.rawId, '600')
  t.equal(again.id, 600)
  t.equal(again.kind, 'request')
  t.equal(again.rewrite('"c"').bytes.toString(), call.bytes.toString(), 'there and back')
  const progress = read('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}') as Message
  t.equal(progress.rewrite(undefined, [[PROGRESS_TOKEN, '"mine"']]).bytes.toString(),
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"mine","progress":0.5}}')
  t.equal(progress.rewrite('1').bytes.toString(), progress.bytes.toString(), 'a notification gets no id')
})

t.test('nesting of 100,000 levels is read, rewritten and no crash', async (t) => {
  const deep = '[{"a":'.repeat(50_000) + '1' + '}]'.repeat(50_000)
  const text = `{"jsonrpc":"2.0","id":1,"method":"m","params":{"deep":${deep},"_meta":{"progressToken":2}}}`
  for (const message of [one(text), read(text) as Message]) {
    t.equal(message.rawId, '1')
    t.equal(message.raw(REQUEST_PROGRESS_TOKEN), '2')
    t.equal(message.rewrite('"x"').bytes.length, text.length + 2)
  }
  t.throws(() => parse('['.repeat(100_000)), { code: 'MCP_ERR_PARSE' })
  t.throws(() => parse('['.repeat(100_000) + ']'.repeat(100_000)), { code: 'MCP_ERR_INVALID_REQUEST' })
  t.equal(read('{"jsonrpc":"2.0","id":1,"result":' + '['.repeat(100_000)), undefined)
})
