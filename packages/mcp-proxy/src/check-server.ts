import { LATEST_LEGACY_REVISION, Message, PROXY_INFO, mcpError, type CodedError, type Connect, type Connection, type FastifyBaseLogger, type Transport } from '@mcp-proxy/protocol'

export interface CheckServerOptions {
  readonly log: FastifyBaseLogger
  /** Milliseconds that it may take. @default 60_000 */
  readonly timeout?: number | undefined
}

const DEFAULT_TIMEOUT = 60_000
const ID = '"mcp-proxy-check"'

/**
 * Shakes hands with a server and leaves again: it can be reached, lets us in, and speaks MCP.
 * @throws MCP_ERR_CHILD_HANDSHAKE
 */
export async function checkServer (name: string, connect: Connect, { log, timeout = DEFAULT_TIMEOUT }: CheckServerOptions): Promise<void> {
  let connection: Connection | undefined
  let timer: NodeJS.Timeout | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (reason: string): void => reject(unable(name, reason))
      timer = setTimeout(() => fail(`no answer to initialize within ${timeout} ms`), timeout)
      const transport: Transport = {
        send: (message) => {
          if (message.kind !== 'response' || message.rawId !== ID) return
          if (message.failed) {
            fail(message.error?.message ?? 'it was refused')
            return
          }
          tell(transport, Message.notification('notifications/initialized'))
          resolve()
        },
        close: () => fail('it has closed the connection'),
      }
      connection = connect(transport, { id: `check/${name}`, principal: undefined, request: undefined, log, era: 'legacy' })
      tell(transport, Message.request(ID, 'initialize', JSON.stringify({ protocolVersion: LATEST_LEGACY_REVISION, capabilities: {}, clientInfo: PROXY_INFO })))
    })
  } finally {
    clearTimeout(timer)
    await connection?.close()
  }
}

function unable (name: string, reason: string): CodedError {
  return mcpError('MCP_ERR_CHILD_HANDSHAKE', name, reason)
}

/** Called in a function of its own: `onmessage` is set by then, which the compiler cannot see. */
function tell (transport: Transport, message: Message): void {
  transport.onmessage?.(message)
}
