import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import t from 'tap'
import { makePrivateDirectory, removePrivateDirectory, removeStaleDirectories } from '../dist/workers/private-directory.js'
import { privateSocket } from '../dist/workers/private-socket.js'

const MODULE = new URL('../dist/workers/private-directory.js', import.meta.url).href

t.test('the directory is this user\'s alone', { skip: process.platform === 'win32' }, async (t) => {
  const directory = makePrivateDirectory()
  t.teardown(() => removePrivateDirectory(directory))
  t.equal(statSync(directory).mode & 0o777, 0o700)
})

t.test('what killed processes have left behind is removed, and nothing else', { skip: process.platform === 'win32' }, async (t) => {
  const place = mkdtempSync(join(tmpdir(), 'mcp-proxy-test-'))
  const before = process.env['TMPDIR']
  process.env['TMPDIR'] = place
  t.teardown(() => {
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
    rmSync(place, { recursive: true })
  })
  /** A directory of a process that was killed, with a socket in it that it had. */
  const leave = (): string => {
    const script = `import { createServer } from 'node:net'
      const { makePrivateDirectory } = await import(${JSON.stringify(MODULE)})
      const directory = makePrivateDirectory()
      createServer().listen(directory + '/1.sock', () => { process.stdout.write(directory, () => process.kill(process.pid, 'SIGKILL')) })`
    return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).stdout
  }
  const stale = [leave(), leave()]
  t.same(stale.map(directory => readdirSync(directory)), [['1.sock'], ['1.sock']])

  const own = makePrivateDirectory()
  const served = leave()
  const server = createServer().listen(privateSocket(served, 2))
  await once(server, 'listening')
  t.teardown(() => server.close())
  const filled = leave()
  writeFileSync(join(filled, 'letter'), 'x')
  const [prefix = '', rest = ''] = basename(leave()).split(/(?<=workers-)[\da-f]{8}/)
  const elsewhere = join(place, `${prefix}00000000${rest}`)
  mkdirSync(elsewhere)
  const link = stale[0]?.replace(/.{6}$/, 'linked') ?? ''
  symlinkSync(elsewhere, link)

  await removeStaleDirectories()
  t.same(readdirSync(place).toSorted(), [own, served, filled, elsewhere, link].map(path => basename(path)).toSorted())
  t.same(readdirSync(filled), ['letter'])
  t.same(readdirSync(served).toSorted(), ['1.sock', '2.sock'])
})
