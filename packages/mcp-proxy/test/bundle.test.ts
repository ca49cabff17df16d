import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const PACKAGE = fileURLToPath(new URL('..', import.meta.url))
const NOW = Date.now() / 1000

/** A package of which only the binary is real; each of its programs says its name. Times are seconds from now. */
function packageWith (t: { teardown: (fn: () => void) => void }, times: Record<string, number>): string {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-proxy-test-'))
  t.teardown(() => { rmSync(directory, { recursive: true }) })
  cpSync(join(PACKAGE, 'bin'), join(directory, 'bin'), { recursive: true })
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}')
  for (const [name, time] of Object.entries(times)) {
    const file = join(directory, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `console.log(${JSON.stringify(name)})`)
    utimesSync(file, NOW + time, NOW + time)
  }
  return join(directory, 'bin/mcp-proxy.js')
}

t.test('the binary loads the bundle, unless what it was made of has changed since', (t) => {
  const plain = { 'dist/cli/main.js': -10, '.tsbuildinfo': -10 }
  const cases: Array<[string, Record<string, number>, string]> = [
    ['no bundle', plain, 'dist/cli/main.js'],
    ['a bundle of this build', { ...plain, 'bundle/cli/main.js': -5 }, 'bundle/cli/main.js'],
    ['a bundle of an older build', { ...plain, 'bundle/cli/main.js': -20 }, 'dist/cli/main.js'],
    ['a published package', { 'dist/cli/main.js': -10, 'bundle/cli/main.js': -20 }, 'bundle/cli/main.js'],
  ]
  for (const [title, times, loaded] of cases) t.equal(execFileSync(process.execPath, [packageWith(t, times)], { encoding: 'utf8' }).trim(), loaded, title)
  t.end()
})

t.test('where all is built, the other tests run the bundle', (t) => {
  // `tsc -b` alone makes none, and leaves one behind that is older
  const bundle = statSync(join(PACKAGE, 'bundle/cli/main.js'), { throwIfNoEntry: false })
  const built = statSync(join(PACKAGE, '.tsbuildinfo'))
  if (process.env['CI'] === undefined) t.comment(bundle === undefined ? 'there is no bundle' : 'there is a bundle')
  else t.ok((bundle?.mtimeMs ?? 0) > built.mtimeMs)
  t.equal(existsSync(join(PACKAGE, 'bundle/workers/main.js')), bundle !== undefined, 'with the program of the workers')
  t.end()
})
