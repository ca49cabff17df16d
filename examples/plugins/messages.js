// A message keeps its bytes: another id is spliced in, and everything else stays as it was written.
import { Message } from '@mcp-proxy/protocol'

const line = Buffer.from('{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"add","arguments":{"n":12345678901234567890}}}')
const message = Message.read(line)
console.log(message?.method, message?.rawId, message?.rewrite('7').bytes.toString())
