// A reporter for tap (a stream of TAP in, text out): a line for each test file, the whole of what failed, and
// 'N passed, N failed, N skipped' to close with, from tap's own totals.
import { Transform } from 'node:stream'

const TOTALS = /^# \{ total: \d+.* \}$/

export default class PlainReporter extends Transform {
  #rest = ''
  #block = []
  #totals = null
  #bailout = null

  _transform (chunk, _encoding, done) {
    const lines = (this.#rest + chunk).split('\n')
    this.#rest = lines.pop()
    for (const line of lines) this.#line(line)
    done()
  }

  #line (line) {
    if (TOTALS.test(line)) this.#totals = line
    if (line.startsWith('Bail out!')) this.#bailout = line
    if (line.startsWith('ok ')) {
      this.#block = []
      this.push(line + '\n')
    } else if (line.startsWith('not ok ')) {
      this.push(this.#block.join('\n') + '\n' + line + '\n')
      this.#block = []
    } else if (line.startsWith(' ') || line.startsWith('# Subtest')) {
      this.#block.push(line)
    } else if (line !== '') {
      this.push(line + '\n')
    }
  }

  _flush (done) {
    if (this.#rest !== '') this.#line(this.#rest)
    if (this.#block.length > 0) this.push(this.#block.join('\n') + '\n')
    const count = key => Number(new RegExp(`\\b${key}: (\\d+)`).exec(this.#totals ?? '')?.[1] ?? 0)
    const failed = count('fail') + (this.#totals === null || this.#bailout !== null ? 1 : 0)
    this.push(`${count('pass')} passed, ${failed} failed, ${count('skip') + count('todo')} skipped\n`)
    done()
  }
}
