import { readFile } from 'node:fs/promises'
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
