import { readFile, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { MCP_ERROR_CODES, mcpError, toRpcError, type McpErrorCode } from '@mcp-proxy/protocol'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

t.test('every error has one row in docs/errors.md, with its status and code, and no row is about another', async (t) => {
  const page = await readFile(`${ROOT}/docs/errors.md`, 'utf8')
  const rows = [...page.matchAll(/^\| `(MCP_ERR_\w+)` \| (.*) \|$/gm)].map(([, code = '', rest = '']) => ({ code, cells: rest.split(' | ') }))
  t.same(rows.map(({ code }) => code).toSorted(), [...MCP_ERROR_CODES].toSorted())
  for (const { code, cells } of rows) {
    t.ok((cells.at(-1) ?? '').length > 10, `${code} says what to do`)
    // some come without a status of their own: in an answer, or at start
    if (!/^\d{3}, /.test(cells[0] ?? '')) continue
    const error = mcpError(code as McpErrorCode)
    t.equal(cells[0], `${error.statusCode}, −${-toRpcError(error).code}`, code)
  }
})

t.test('every link between pages leads to a page, and to a heading of it', async (t) => {
  const directories = ['', 'docs', 'examples/plugins', 'examples/library', 'examples/several', ...(await readdir(join(ROOT, 'packages'))).map(name => `packages/${name}`)]
  const pages = (await Promise.all(directories.map(async name => (await readdir(join(ROOT, name))).filter(file => file.endsWith('.md')).map(file => join(ROOT, name, file))))).flat()
  t.ok(pages.length > 15)
  for (const page of pages) {
    const text = await readFile(page, 'utf8')
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      const found = await stat(file).then(() => true, () => false)
      t.ok(found, `${page.slice(ROOT.length)}: ${target}`)
      if (found && anchor !== undefined) t.ok(anchors(await readFile(file, 'utf8')).has(anchor), `${page.slice(ROOT.length)}: ${target}`)
    }
  }
})

/** What a page's headings are called in links. */
function anchors (page: string): Set<string> {
  return new Set([...page.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')))
}
