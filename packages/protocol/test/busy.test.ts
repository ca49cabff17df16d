import t from 'tap'
import { BusyMap, BusySet } from '@mcp-proxy/protocol'

t.test('a busy map keeps what is open, in order, however much comes and goes', async (t) => {
  const map = new BusyMap<string, number>()
  map.set('first', -1)
  for (let n = 0; n < 5000; n++) {
    map.set(String(n), n)
    if (n >= 10) t.equal(map.delete(String(n - 10)), true)
  }
  map.set('last', -2)
  t.equal(map.size, 12)
  t.strictSame([...map.keys()], ['first', ...Array.from({ length: 10 }, (_, n) => String(4990 + n)), 'last'])
  t.strictSame([...map.values()].at(0), -1)
  t.strictSame([...map].at(-1), ['last', -2])
  t.equal(map.get('first'), -1)
  t.equal(map.has('4989'), false)
  t.equal(map.delete('4989'), false)
  map.clear()
  t.equal(map.size, 0)
})

t.test('so does a busy set', async (t) => {
  const set = new BusySet<object>()
  const members = Array.from({ length: 3000 }, () => ({}))
  for (const member of members) set.add(member)
  for (const member of members.slice(0, 2990)) t.equal(set.delete(member), true)
  t.strictSame([...set], members.slice(2990))
  t.equal(set.has(members[0] as object), false)
  t.equal(set.delete(members[0] as object), false)
  t.equal(set.size, 10)
  set.clear()
  t.equal(set.size, 0)
})

t.test('one entry at a time is kept like several', (t) => {
  const map = new BusyMap<string, number>()
  t.strictSame([map.size, map.get('a'), map.has('a'), map.delete('a'), [...map]], [0, undefined, false, false, []])
  for (let n = 0; n < 2000; n++) {
    map.set('a', n)
    map.set('a', n + 1)
    t.strictSame([map.size, map.get('a'), map.has('a'), map.has('b'), map.get('b'), map.delete('b'), [...map], [...map.keys()], [...map.values()]], [1, n + 1, true, false, undefined, false, [['a', n + 1]], ['a'], [n + 1]])
    t.equal(map.delete('a'), true)
    t.equal(map.size, 0)
    if (n % 500 !== 0) continue
    map.set('a', 1)
    map.set('b', 2)
    t.strictSame([...map], [['a', 1], ['b', 2]])
    t.strictSame([map.delete('a'), map.delete('b'), map.size], [true, true, 0])
  }
  map.set('a', 1)
  map.clear()
  t.strictSame([map.size, map.has('a')], [0, false])
  t.end()
})
