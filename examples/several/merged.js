// Several remote servers as one over stdio: what a desktop client starts. Its tools are everything__echo, memory__read_graph, …
import { startMultiStdioServer } from 'mcp-proxy'

const base = process.env.BASE_URL ?? 'http://127.0.0.1:8080'

await startMultiStdioServer([
  { name: 'everything', url: `${base}/everything/mcp` },
  { name: 'memory', url: `${base}/memory/mcp` }
], { merge: true })
