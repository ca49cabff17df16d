import type { Message, Transport } from '@mcp-proxy/protocol'

/** Gives a message to whoever answers a party. In a function of its own: that changes between two calls, which the compiler does not see. */
export function pass (transport: Transport, message: Message): void {
  transport.onmessage?.(message)
}
