import t from 'tap'
import fc from 'fast-check'
import { Message } from '@mcp-proxy/protocol'
import { StateSeal, digestOf } from '../dist/translate/request-state.js'
import { canonicalJson } from '../dist/translate/canonical.js'

const STATE = { principal: 'ann', method: 'tools/call', digest: 'd', expires: 1, call: 'c' }

t.test('a state opens as it was sealed, under the same key only', async (t) => {
  const seal = new StateSeal('key')
  t.match(seal.open(seal.seal(STATE)), STATE)
  t.match(new StateSeal(Buffer.from('key')).open(seal.seal(STATE)), STATE)
  t.equal(new StateSeal('other').open(seal.seal(STATE)), undefined)
  t.equal(new StateSeal().open(new StateSeal().seal(STATE)), undefined)
  t.not(seal.seal(STATE), seal.seal(STATE), 'no two look alike')
  t.notMatch(Buffer.from(seal.seal(STATE), 'base64url').toString('latin1'), /ann|tools/)
})

t.test('a state does not open with any of its characters or bits changed', async (t) => {
  const seal = new StateSeal('key')
  // all lengths modulo three: the last characters of base64url have bits to spare
  for (const call of ['c', 'cc', 'ccc']) {
    const text = seal.seal({ ...STATE, call })
    for (let at = 0; at < text.length; at++) {
      for (const other of ['A', 'B', '_', '=', ' ', '']) {
        const changed = text.slice(0, at) + other + text.slice(at + 1)
        if (changed !== text && seal.open(changed) !== undefined) t.fail(`opens with ${at} changed to "${other}"`)
      }
    }
    const bytes = Buffer.from(text, 'base64url')
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes)
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      if (seal.open(changed.toString('base64url')) !== undefined) t.fail(`opens with bit ${bit} changed`)
    }
  }
})

t.test('nothing else opens, or throws', async () => {
  const seal = new StateSeal('key')
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.base64String(), fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes).toString('base64url'))), text => seal.open(text) === undefined))
})

t.test('a digest tells requests apart by what they ask for, in whatever order', async (t) => {
  const digest = (params: string): string => digestOf(Message.parse(Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"m","params":${params}}`)) as Message)
  const first = digest('{"a":{"x":1,"y":[1,2]},"b":null}')
  t.equal(digest('{"b":null,"requestState":"s","a":{"y":[1,2],"x":1},"_meta":{},"inputResponses":{}}'), first)
  for (const other of ['{"a":{"x":1,"y":[2,1]},"b":null}', '{"a":{"x":1,"y":[1,2]}}', '{"a":{"x":1,"y":[1,2],"b":null}}', '{"a":{"x":"1","y":[1,2]},"b":null}', '{}']) t.not(digest(other), first)
  t.ok(digest('['.repeat(100_000).replace(/^/, '{"a":') + ']'.repeat(100_000) + '}'), 'however deep')
})

t.test('canonical text is JSON for the same value', async () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const text = JSON.stringify(value)
    return canonicalJson(JSON.parse(canonicalJson(JSON.parse(text)))) === canonicalJson(JSON.parse(text)) && canonicalJson(JSON.parse(text)).length === text.length
  }))
})

t.test('a tag says readable which process has sealed a state: others with the key open it, nobody can change it', async (t) => {
  const state = { method: 'tools/call', digest: 'd', expires: 1 }
  const [one, two, plain] = [new StateSeal('key', 'w1'), new StateSeal('key', 'w2'), new StateSeal('key')]
  const text = one.seal(state)
  t.match(text, /^w1\.[\w-]+$/)
  for (const seal of [one, two, plain]) t.match(seal.open(text), state)
  t.match(two.open(plain.seal(state)), state)
  for (const changed of [text.replace('w1.', 'w2.'), text.replace('w1.', ''), text.replace('w1', ''), `.${text}`, `w1.${text}`, `w1.${plain.seal(state)}`]) t.equal(two.open(changed), undefined, changed.slice(0, 6))
  for (const tag of ['a.b', 'ä', ' ', 'x'.repeat(33)]) t.throws(() => new StateSeal('key', tag), { code: 'MCP_ERR_OPTION', message: /stateTag/ })
})
