import { mcpError, type CodedError } from '@mcp-proxy/protocol'
import type { Ticker } from './ticker.js'

/** What may have calls open when the app closes. */
export interface Closing {
  /** Resolves when no call is open. */
  settled: () => Promise<void>
  /** Ends it; open calls are answered with the error. Harmless when called twice. */
  close: (error?: CodedError) => Promise<void>
}

/** Milliseconds that streams get to send what is queued when the app closes. */
const LAST_WORDS = 1000

/** Ends each when its calls are done, and all after `grace` milliseconds; a reader that has stopped holds nothing up. */
export async function closeGracefully (members: Iterable<Closing>, grace: number, streams: Ticker): Promise<void> {
  const force = setTimeout(() => streams.destroyMembers(), grace + LAST_WORDS)
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<void>((resolve) => { timer = setTimeout(resolve, grace) })
  try {
    // each on its own: one that fails to end keeps no other from ending
    const results = await Promise.allSettled([...members].map(async (member) => {
      await Promise.race([member.settled(), over])
      await member.close(mcpError('MCP_ERR_CLOSING'))
    }))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  } finally {
    clearTimeout(timer)
    clearTimeout(force)
  }
}
