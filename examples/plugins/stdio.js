// The other way round: a server elsewhere, for a host that only starts stdio servers.
import { ServerType, startStdioServer } from 'mcp-proxy'

const url = process.env.REMOTE_URL ?? 'http://127.0.0.1:8080/mcp'
const { ended } = startStdioServer({
  serverType: ServerType.HTTPStream,
  url,
  transportOptions: { requestInit: { headers: { 'x-user-id': 'user123' } } }
})
await ended
