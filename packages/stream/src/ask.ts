import { METHOD_NOT_FOUND, Message, type Connect, type ConnectContext, type Connection, type Transport } from '@mcp-proxy/protocol'

/**
 * Sends one request over a connection of its own, and resolves with the answer.
 * `undefined` when there is none: the signal was aborted, or the other side has closed.
 */
export async function ask (connect: Connect, context: ConnectContext, request: Message, signal: AbortSignal): Promise<Message | undefined> {
  if (signal.aborted) return undefined
  let connection: Connection | undefined
  let onabort = (): void => {}
  try {
    return await new Promise((resolve) => {
      onabort = () => resolve(undefined)
      signal.addEventListener('abort', onabort)
      const transport: Transport = {
        send: (message) => {
          if (message.kind === 'response') resolve(message)
          else if (message.kind === 'request') receive(transport, Message.error(message.rawId as string, { code: METHOD_NOT_FOUND, message: `${message.method} cannot be answered here` }))
        },
        close: () => resolve(undefined),
      }
      connection = connect(transport, context)
      receive(transport, request)
    })
  } finally {
    signal.removeEventListener('abort', onabort)
    await connection?.close()
  }
}

/** Called in a function of its own: `onmessage` is set by then, which the compiler cannot see. */
function receive (transport: Transport, message: Message): void {
  transport.onmessage?.(message)
}
