import { EventSource } from 'eventsource'
import { JSON_AND_STREAM } from './http.js'

interface Teardown { teardown: (fn: () => unknown) => void }

/** Posts a message byte by byte as it is, and resolves with the bytes of the answer to `id`. */
export type Ask = (body: string, id: string) => Promise<string>

const HANDSHAKE = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}'

/** A client of the stream endpoint that reads nothing into what it gets. */
export async function rawPost (t: Teardown, url: string, headers: Record<string, string> = {}): Promise<Ask> {
  const send = (body: string, session: Record<string, string>): Promise<Response> => fetch(`${url}/stream`, {
    method: 'POST', headers: { 'content-type': 'application/json', accept: JSON_AND_STREAM, ...headers, ...session }, body
  })
  const opened = await send(HANDSHAKE, {})
  const session = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' }
  t.teardown(() => fetch(`${url}/stream`, { method: 'DELETE', headers: { ...headers, ...session } }).catch(() => {}))
  return async body => await (await send(body, session)).text()
}

/** The same over HTTP+SSE. */
export async function openRawSse (t: Teardown, url: string): Promise<Ask> {
  const source = new EventSource(`${url}/sse`)
  t.teardown(() => source.close())
  const endpoint = await new Promise<string>(resolve => source.addEventListener('endpoint', event => resolve(event.data as string)))
  const ask: Ask = async (body, id) => {
    const answer = new Promise<string>((resolve) => {
      const listen = ({ data }: MessageEvent): void => {
        if (!String(data).includes(`"id":${id}`)) return
        source.removeEventListener('message', listen)
        resolve(String(data))
      }
      source.addEventListener('message', listen)
    })
    await fetch(new URL(endpoint, url), { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    return await answer
  }
  await ask(HANDSHAKE, '0')
  return ask
}
