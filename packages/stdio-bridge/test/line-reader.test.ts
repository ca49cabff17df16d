import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import fc from 'fast-check'
import { Message } from '@mcp-proxy/protocol'
import { LineReader } from '../dist/line-reader.js'

const MEBIBYTE = 1024 * 1024

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

interface Seen {
  lines: string[]
  oversize: Array<[head: string, tail: string]>
  reader: LineReader
}

function collect (limit = 1024 * 1024): Seen {
  const lines: string[] = []
  const oversize: Array<[string, string]> = []
  const reader = new LineReader(limit, {
    line: line => { lines.push(line.toString('latin1')) },
    oversize: (head, tail) => { oversize.push([head.toString('latin1'), tail.toString('latin1')]) },
  })
  return { lines, oversize, reader }
}

/** Pushes bytes in pieces; the reader may keep and change what it gets, so each piece is a copy. */
function push (reader: LineReader, bytes: Buffer, sizes: Iterable<number>): void {
  let at = 0
  for (const size of sizes) {
    if (at >= bytes.length) break
    reader.push(Buffer.from(bytes.subarray(at, at + size)))
    at += size
  }
  if (at < bytes.length) reader.push(Buffer.from(bytes.subarray(at)))
}

const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 200 })
const bytes = fc.array(fc.oneof({ weight: 1, arbitrary: fc.constantFrom(0x0a, 0x0d, 0x20) }, { weight: 3, arbitrary: fc.nat(255) }), { maxLength: 300 }).map(list => Buffer.from(list))

/** What the reader is to give: lines by line feed, without blank ends, carriage returns as spaces. */
function expected (input: Buffer): string[] {
  return input.toString('latin1').split('\n').map(line => line.replace(/[\r ]+$/, '').replaceAll('\r', ' ')).filter(line => line !== '')
}

t.test('any bytes in any pieces come out as their lines', async () => {
  fc.assert(fc.property(bytes, sizes, (input, cuts) => {
    const { lines, oversize, reader } = collect()
    push(reader, input, cuts)
    reader.end()
    return oversize.length === 0 && JSON.stringify(lines) === JSON.stringify(expected(input))
  }), { numRuns: 1000 })
})

t.test('messages in any pieces come out with the same bytes', async () => {
  const message = fc.record({ id: fc.oneof(fc.integer(), fc.string({ unit: 'binary' })), result: fc.jsonValue({ stringUnit: 'binary' }) }).map(value => JSON.stringify({ jsonrpc: '2.0', ...value }))
  fc.assert(fc.property(fc.array(message, { maxLength: 5 }), fc.constantFrom('\n', '\r\n', '\n\n', ' \n'), sizes, (messages, lineBreak, cuts) => {
    const seen: string[] = []
    const reader = new LineReader(1024 * 1024, { line: line => seen.push(Message.read(line)?.bytes.toString() ?? ''), oversize: () => seen.push('oversize') })
    push(reader, Buffer.from(messages.map(text => text + lineBreak).join('')), cuts)
    return JSON.stringify(seen) === JSON.stringify(messages)
  }), { numRuns: 500 })
})

t.test('lines over the limit are reported by their two ends, and the lines around them are fine', async () => {
  const LIMIT = 300
  const line = fc.tuple(fc.integer({ min: 0, max: 2000 }), fc.constantFrom('a', 'é', '日')).map(([length, char]) => char.repeat(length))
  fc.assert(fc.property(fc.array(line, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 100 }), (input, cuts) => {
    const { lines, oversize, reader } = collect(LIMIT)
    const all = input.map(text => Buffer.from(text))
    push(reader, Buffer.concat(all.flatMap(text => [text, Buffer.from('\n')])), cuts)
    const fine = all.filter(text => text.length > 0 && text.length <= LIMIT).map(text => text.toString('latin1'))
    const large = all.filter(text => text.length > LIMIT).map(text => [text.toString('latin1', 0, 256), text.toString('latin1', Math.max(0, text.length - 256))])
    return JSON.stringify(lines) === JSON.stringify(fine) && JSON.stringify(oversize) === JSON.stringify(large)
  }), { numRuns: 500 })
})

t.test('the limit is exact', async (t) => {
  const { lines, oversize, reader } = collect(5)
  reader.push(Buffer.from('12345\n123456\n12345\n'))
  t.same(lines, ['12345', '12345'])
  t.same(oversize, [['123456', '123456']])
})

t.test('a line over the limit that never ends keeps no more than its ends', async (t) => {
  const { oversize, reader } = collect(1000)
  const before = process.memoryUsage().arrayBuffers
  const kept = (): number => process.memoryUsage().arrayBuffers - before
  for (let n = 0; n < 2000; n++) reader.push(Buffer.alloc(64 * 1024, 0x61))
  // buffers are freed beside the collection, so one may not be enough to see it
  for (let n = 0; n < 20 && kept() > MEBIBYTE; n++) {
    collectGarbage()
    await setImmediate()
  }
  t.ok(kept() < MEBIBYTE, 'of 125 MB')
  reader.push(Buffer.from('the end \r\n'))
  t.equal(oversize.length, 1)
  t.equal(oversize[0]?.[0], 'a'.repeat(256))
  t.match(oversize[0]?.[1], /^a+the end$/)
})

t.test('a large line in small pieces is joined once', async (t) => {
  const { lines, reader } = collect(32 * 1024 * 1024)
  for (let n = 0; n < 20_000; n++) reader.push(Buffer.alloc(1000, 0x61))
  reader.push(Buffer.from('\n'))
  t.equal(lines[0]?.length, 20_000_000)
})

t.test('what follows the last line break is a line once the stream ends', async (t) => {
  const { lines, oversize, reader } = collect(10)
  reader.push(Buffer.from('one\ntwo'))
  t.same(lines, ['one'])
  reader.end()
  reader.end()
  t.same(lines, ['one', 'two'])
  reader.push(Buffer.from('12345678901'))
  reader.end()
  t.same(oversize, [['12345678901', '12345678901']])
})
