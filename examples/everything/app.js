// An app for fastify-cli that serves @modelcontextprotocol/server-everything, or what MCP_PROXY_COMMAND names.
// `pnpm start` runs it; `fastify start --options app.js -- --user-id=user123` shows how flags are passed.
import { fileURLToPath } from 'node:url'
import { options as quiet } from 'mcp-proxy/app'

export { default } from 'mcp-proxy/app'

const everything = fileURLToPath(new URL('node_modules/@modelcontextprotocol/server-everything/dist/index.js', import.meta.url))

export const options = {
  ...quiet,
  command: process.env.MCP_PROXY_COMMAND ?? [process.execPath, everything]
}
