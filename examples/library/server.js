// What is served: a server of the official SDK, as an object. `greet` says who its client is.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { z } from 'zod'

export function buildServer (user = 'somebody') {
  const server = new McpServer({ name: 'example', version: '1.0.0' })
  server.registerTool('greet', { inputSchema: { name: z.string() } }, ({ name }) => ({ content: [{ type: 'text', text: `Hello, ${name}! You are ${user}.` }] }))
  return server
}

// started by itself it speaks stdio
if (process.argv[1] === import.meta.filename) await buildServer('a proxy').connect(new StdioServerTransport())
