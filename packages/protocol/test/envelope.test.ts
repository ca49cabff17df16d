import t from 'tap'
import { Message, findSpan, guessEnvelope, idKey, scanObject, skipSpace } from '@mcp-proxy/protocol'

const read = (line: string): Message | undefined => Message.read(Buffer.from(line))

t.test('an id is read and replaced exactly, of every kind and wherever it stands', async (t) => {
  const ids = ['0', '-1', '1.5', '9007199254740993', '123456789012345678901234567890', '""', '"1"', '"a b"', '"}"', '"日本 🎈"', '"__proto__"']
  const shapes: Array<(id: string) => string> = [
    id => `{"id":${id},"jsonrpc":"2.0","result":{"id":99}}`,
    id => `{"jsonrpc":"2.0","id":${id},"result":{"id":99}}`,
    id => `{"result":{"id":99},"jsonrpc":"2.0","id":${id}}`,
    id => ` { "result" : { "id" : 99 } , "id"\t: ${id} , "jsonrpc" : "2.0" } `,
    id => `{"jsonrpc":"2.0","\\u0069d":${id},"result":{"jsonrpc":"1.0"}}`,
  ]
  for (const id of ids) {
    for (const shape of shapes) {
      const text = shape(id)
      for (const message of [read(text), Message.parse(Buffer.from(text)) as Message]) {
        t.equal(message?.rawId, id, text)
        t.equal(message?.rewrite('"new"').bytes.toString(), shape('"new"'), text)
      }
    }
  }
})

t.test('ids are compared in one form, and 1 is not "1"', async (t) => {
  t.equal(idKey('"\\u0061"'), '"a"')
  t.equal(idKey('"\\/"'), '"/"')
  t.equal(idKey('"\\u00e9"'), '"é"')
  t.equal(idKey('"\\ud800"'), '"\\ud800"', 'half a surrogate pair stays escaped')
  t.equal(idKey('"a"'), '"a"')
  t.equal(idKey('1'), '1')
  t.equal(idKey('-1'), '-1')
  t.equal(idKey('5.0'), '5', 'as some servers write it')
  t.equal(idKey('1e3'), '1000')
  t.equal(idKey('9007199254740993.0'), '9007199254740993.0')
  t.not(idKey('1'), idKey('"1"'))
  for (const raw of ['null', 'true', '{}', '[1]', '', '-', '"\\x"']) t.equal(idKey(raw), undefined, raw)
  t.equal(read('{"jsonrpc":"2.0","id":"\\u0061","result":{}}')?.rawId, '"a"')
})

t.test('names are read as JSON reads them', async (t) => {
  t.equal(read('{"json\\u0072pc":"2.0","\\u006dethod":"m","\\u0069d":1}')?.method, 'm')
  t.equal(read('{"jsonrpc":"2.0","method":"a\\/b\\u0020c","id":1}')?.method, 'a/b c')
  t.equal(read('{"jsonrpc":"2.0","id":1,"id":2,"result":{}}')?.rawId, '2', 'the last of equal names counts, as in JSON.parse')
  t.equal(read('{"jsonrpc":"2.0","result":{"a\\":1":"\\\\"},"id":"x"}')?.rawId, '"x"', 'escaped quotes and backslashes do not end a string')
})

t.test('lines that are no message are refused', async (t) => {
  const lines = [
    '', ' ', 'Server listening', '{', '{}', '[]', 'null', '"text"', '1', '{"level":30,"msg":"a log line"}',
    '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":1}', '{"jsonrpc":"1.0","id":1,"result":{}}', '{"jsonrpc":2.0,"id":1,"result":{}}',
    '{"jsonrpc":"2.0","id":1,"result":{}', '{"jsonrpc":"2.0","id":1,"result":{}}}', '{"jsonrpc":"2.0","id":1,"result":{}}{"jsonrpc":"2.0","id":2,"result":{}}',
    '{"jsonrpc":"2.0","id":1,"result":}', '{"jsonrpc":"2.0","id":1,"result"}', '{"jsonrpc":"2.0","id":1,"result":{},}', '{"jsonrpc":"2.0",,"id":1,"result":{}}',
    '{jsonrpc:"2.0","id":1,"result":{}}', '{"jsonrpc":"2.0" "id":1,"result":{}}', '{"jsonrpc":"2.0","id":1,"result":"unclosed}',
    '{"jsonrpc":"2.0","id":null,"method":"a"}', '{"jsonrpc":"2.0","id":{},"method":"a"}', '{"jsonrpc":"2.0","method":7}', '{"jsonrpc":"2.0","method":null}',
    '[{"jsonrpc":"2.0","id":1,"result":{}}]', 'data: {"jsonrpc":"2.0","id":1,"result":{}}', '{"jsonrpc":"2.0","method":"a\\x"}',
  ]
  for (const line of lines) t.equal(read(line), undefined, line)
})

t.test('requests and notifications whose inside is broken are refused: the proxy looks into them', async (t) => {
  for (const line of [
    '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":NaN}}',
    '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{uri}}',
    '{"jsonrpc":"2.0","id":1,"method":"roots/list","params":{"x":[}]}}',
    '{"jsonrpc":"2.0","id":01,"method":"roots/list"}',
  ]) t.equal(read(line), undefined, line)
})

t.test('an error answer to a request that could not be read has no id', async (t) => {
  const message = read('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}')
  t.equal(message?.kind, 'response')
  t.equal(message?.rawId, undefined)
  t.equal(message?.id, undefined)
})

t.test('a large message is found the same by its ends as by the whole', async (t) => {
  const big = JSON.stringify({ text: '","jsonrpc":"2.0","id":7}'.repeat(200), id: 8 })
  const small = '{"text":"x"}'
  const shapes: Array<(inside: string) => string> = [
    inside => `{"jsonrpc":"2.0","id":5,"result":${inside}}`,
    inside => `{"jsonrpc":"2.0","id":"five","error":${inside}}`,
    inside => `{"result":${inside},"jsonrpc":"2.0","id":5}`,
    inside => `{"result":${inside},"jsonrpc":"2.0","id":"a:b.c-d_e"}`,
    inside => `{"result":${inside},"jsonrpc":"2.0","id":"日本"}`,
    inside => `{"result":${inside},"id":5,"jsonrpc":"2.0"}`,
    inside => `{"jsonrpc":"2.0","result":${inside},"id":5}`,
    inside => `{"id":5,"jsonrpc":"2.0","result":${inside}}`,
    inside => `{"jsonrpc":"2.0","id":5,"method":"m","params":${inside}}`,
    inside => `{"method":"m","params":${inside},"jsonrpc":"2.0","id":5}`,
    inside => `{"jsonrpc":"2.0","method":"m","params":${inside}}`,
    inside => ` {"jsonrpc":"2.0","id":5,"result":${inside}} `,
  ]
  for (const shape of shapes) {
    const expected = read(shape(small))
    const found = read(shape(big))
    t.ok(found)
    t.same([found?.kind, found?.rawId, found?.method], [expected?.kind, expected?.rawId, expected?.method], shape('…'))
    t.equal(found?.rewrite('"other"').bytes.toString(), expected?.rewrite('"other"').bytes.toString().replace(small, () => big), `rewritten: ${shape('…')}`)
  }
})

t.test('the ends alone name the call of a message that was too large to keep', async (t) => {
  const edges = (head: string, tail: string): string | undefined => guessEnvelope(Buffer.from(head), Buffer.from(tail)).rawId
  t.equal(edges('{"jsonrpc":"2.0","id":5,"result":{"x', 'xx"}}'), '5')
  t.equal(edges('{"jsonrpc":"2.0","id":"a","error":{"x', 'xx"}}'), '"a"')
  t.equal(edges('{"result":{"x', 'xx"},"jsonrpc":"2.0","id":6}'), '6')
  t.equal(edges('{"jsonrpc": "2.0", "id": 5, "result": {"id": 4, "x', 'xx"}}'), '5', 'as Python writes it')
  t.equal(edges('{"result": {"x', 'xx"}, "id": 6, "jsonrpc": "2.0"}'), '6')
  t.equal(edges('xxxx', 'xxxx'), undefined)
  t.equal(edges('{"result":{"x', 'xx,\\"jsonrpc\\":\\"2.0\\",\\"id\\":6}'), undefined, 'an id inside a string is none')
})

t.test('members are visited with the places of their values', async (t) => {
  const bytes = Buffer.from(' {"a" : [1,{"b":"]"}] ,\n"ü":-1.5e3,"s":"\\"","o":{},"t":true}rest')
  const seen: Array<[string, string]> = []
  const start = skipSpace(bytes, 0)
  t.equal(start, 1)
  const end = scanObject(bytes, start, (name, from, to) => seen.push([name, bytes.toString('utf8', from, to)]))
  t.equal(bytes.toString('utf8', end), 'rest')
  t.same(seen, [['a', '[1,{"b":"]"}]'], ['ü', '-1.5e3'], ['s', '"\\""'], ['o', '{}'], ['t', 'true']])
  t.equal(scanObject(Buffer.from('{ }x'), 0, () => t.fail('no members')), 3)
  for (const text of ['', '[', '{', '{"a"', '{"a":', '{"a":}', '{"a":1', '{"a":1,', '{"a":1,}', '{"a":"', '{"a":{', '{"a":[1}', '{"a":"\\"}', '{a:1}', '{"a" 1}']) {
    t.equal(scanObject(Buffer.from(text), 0, () => {}), -1, text)
  }
})

t.test('a value is found by its path, the last of equal names', async (t) => {
  const bytes = Buffer.from('{"a":{"b":1},"a":{"c":{"b":[2]}},"b":3}')
  const find = (...path: string[]): string | undefined => {
    const span = findSpan(bytes, path)
    return span && bytes.toString('utf8', span.start, span.end)
  }
  t.equal(find('b'), '3')
  t.equal(find('a', 'c', 'b'), '[2]')
  t.equal(find('a', 'b'), undefined, 'the first "a" does not count')
  t.equal(find('b', 'x'), undefined, 'a number has no members')
  t.equal(find('x'), undefined)
})
