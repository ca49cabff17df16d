import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t from 'tap'

const PACKAGE = fileURLToPath(new URL('..', import.meta.url))
const PLAIN = 'dist/cli/main.js'
const BUNDLE = 'bundle/cli/main.js'

/** A checkout with two packages, of which only the binary and what chooses are real; each program says its name. */
class Checkout {
  readonly packages: string
  readonly #own: string

  constructor (t: { teardown: (fn: () => void) => void }) {
    this.packages = mkdtempSync(join(tmpdir(), 'mcp-proxy-test-'))
    this.#own = join(this.packages, 'mcp-proxy')
    t.teardown(() => { rmSync(this.packages, { recursive: true }) })
    for (const name of ['bin', 'builds.mjs']) cpSync(join(PACKAGE, name), join(this.#own, name), { recursive: true })
    writeFileSync(join(this.#own, 'package.json'), '{"type":"module"}')
    this.#program(PLAIN)
    for (const name of ['protocol', 'mcp-proxy']) this.builds(name, 1000)
  }

  /** As `tsc -b` does with a package that it has changed. @param time seconds */
  builds (name: string, time: number): void {
    const file = join(this.packages, name, '.tsbuildinfo')
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, '')
    utimesSync(file, time, time)
  }

  async bundle (): Promise<void> {
    const { builds } = await import(pathToFileURL(join(this.#own, 'builds.mjs')).href) as { builds: () => string }
    this.#program(BUNDLE)
    writeFileSync(join(this.#own, 'bundle/made-of.json'), builds())
  }

  remove (file: string): void {
    rmSync(join(this.#own, file), { recursive: true })
  }

  /** The program that the binary runs. */
  ran (packages = this.packages): string {
    return execFileSync(process.execPath, [join(packages, 'mcp-proxy/bin/mcp-proxy.js')], { encoding: 'utf8' }).trim()
  }

  #program (name: string): void {
    const file = join(this.#own, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `console.log(${JSON.stringify(name)})`)
  }
}

t.test('the binary runs the bundle, unless what it was made of has been built anew since', async (t) => {
  const checkout = new Checkout(t)
  t.equal(checkout.ran(), PLAIN, 'no bundle')
  await checkout.bundle()
  t.equal(checkout.ran(), BUNDLE, 'a bundle of this build')
  checkout.builds('mcp-proxy', 2000)
  t.equal(checkout.ran(), PLAIN, 'all was built')
  await checkout.bundle()
  checkout.builds('protocol', 2000)
  t.equal(checkout.ran(), PLAIN, 'a package below was built by itself')
  await checkout.bundle()
  checkout.builds('protocol', 500)
  t.equal(checkout.ran(), PLAIN, 'with a time that is earlier')
})

t.test('a checkout that was copied without its times does not run its bundle, current or not', async (t) => {
  const checkout = new Checkout(t)
  await checkout.bundle()
  const copy = mkdtempSync(join(tmpdir(), 'mcp-proxy-test-'))
  t.teardown(() => { rmSync(copy, { recursive: true }) })
  cpSync(checkout.packages, copy, { recursive: true })
  t.equal(checkout.ran(copy), PLAIN)
  cpSync(checkout.packages, copy, { recursive: true, preserveTimestamps: true })
  t.equal(checkout.ran(copy), BUNDLE, 'with its times it does')
})

t.test('a published package runs the bundle', async (t) => {
  const checkout = new Checkout(t)
  await checkout.bundle()
  for (const file of ['.tsbuildinfo', 'builds.mjs', 'bundle/made-of.json']) checkout.remove(file)
  t.equal(checkout.ran(), BUNDLE)
  checkout.remove('bundle')
  t.equal(checkout.ran(), PLAIN)
})

t.test('tsc touches its own file with each change of a package, and with nothing else', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-proxy-test-'))
  t.teardown(() => { rmSync(directory, { recursive: true }) })
  const own = join(directory, 'protocol')
  mkdirSync(join(own, 'src'), { recursive: true })
  writeFileSync(join(own, 'src/index.ts'), 'export const text: string = \'one\'\n')
  writeFileSync(join(own, 'package.json'), '{"type":"module"}')
  const { compilerOptions } = JSON.parse(readFileSync(join(PACKAGE, 'tsconfig.json'), 'utf8')) as { compilerOptions: object }
  writeFileSync(join(own, 'tsconfig.json'), JSON.stringify({ extends: join(PACKAGE, '../../tsconfig.base.json'), compilerOptions: { ...compilerOptions, types: [] }, include: ['src'] }))
  cpSync(join(PACKAGE, 'builds.mjs'), join(directory, 'mcp-proxy/builds.mjs'))
  const { builds } = await import(pathToFileURL(join(directory, 'mcp-proxy/builds.mjs')).href) as { builds: () => string }
  const build = (): string => {
    // tap loads itself into each Node that is started, which the compiler's does not bear on Node 22
    execFileSync('env', ['-i', `PATH=${process.env['PATH'] ?? ''}`, join(PACKAGE, '../../node_modules/.bin/tsc'), '-b', own])
    return builds()
  }
  const built = build()
  t.equal(build(), built)
  // the types stay the same
  writeFileSync(join(own, 'src/index.ts'), 'export const text: string = \'two\'\n')
  t.not(build(), built)
})
