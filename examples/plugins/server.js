// A stdio MCP server as anybody would write it, with the official SDK. It knows nothing of HTTP.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { z } from 'zod'

const server = new McpServer({ name: 'example', version: '1.0.0' })
const text = value => ({ content: [{ type: 'text', text: value }] })

server.registerTool('greet', { description: 'Greets somebody', inputSchema: { name: z.string() } }, ({ name }) => text(`Hello, ${name}!`))
server.registerTool('pid', { description: 'The process that answers' }, () => text(String(process.pid)))
server.registerTool('whoami', { description: 'Who this process works for' }, () => text(`${process.env.USER_NAME ?? 'anybody'}, ${process.env.API_TOKEN ? 'with' : 'without'} a token`))

await server.connect(new StdioServerTransport())
