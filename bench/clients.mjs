// Clients that cost little: no SDK, one keep-alive connection each, every answer is looked at.
import { Agent, request } from 'node:http'

const META = 'io.modelcontextprotocol/'
const MODERN = { [`${META}protocolVersion`]: '2026-07-28', [`${META}clientInfo`]: { name: 'bench', version: '1' }, [`${META}clientCapabilities`]: {} }
const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

/** Opens a client of the protocol that a target speaks. @param session a client whose session this one shares */
export async function openClient (target, session) {
  const Client = { stream: StreamClient, modern: ModernClient, sse: SseClient }[target.protocol]
  const client = new Client(target)
  await client.open(session)
  return client
}

class HttpClient {
  constructor ({ port, path }) {
    this.port = port
    this.path = path
    this.agent = new Agent({ keepAlive: true, maxSockets: 1 })
    this.nextId = 1
  }

  /** Posts text; resolves to status, headers and body, which is handed to `onevent` event by event where it is a stream. */
  post (path, text, headers, onevent) {
    return new Promise((resolve, reject) => {
      const outgoing = request({ agent: this.agent, host: '127.0.0.1', port: this.port, path, method: 'POST', headers: { ...JSON_HEADERS, 'content-length': Buffer.byteLength(text), ...headers } }, (response) => {
        const { statusCode, headers } = response
        const streamed = headers['content-type']?.startsWith('text/event-stream') === true
        const parts = []
        const events = streamed ? eventReader(onevent) : undefined
        response.on('data', chunk => streamed ? events(chunk) : parts.push(chunk))
        response.on('end', () => resolve({ status: statusCode, headers, body: Buffer.concat(parts) }))
        response.on('error', reject)
      })
      outgoing.on('error', reject).end(text)
    })
  }

  /** Asks; resolves to the answer. */
  async ask (method, params, headers, ontold) {
    const id = this.nextId++
    let answer
    const { body, status } = await this.post(this.path, JSON.stringify({ jsonrpc: '2.0', id, method, params }), headers, (message) => {
      if (message.method === undefined) answer = message
      else ontold?.(message)
    })
    if (answer === undefined && body.length > 0) answer = JSON.parse(body.toString())
    if (answer?.id !== id || answer.result === undefined) throw new Error(`${method}: ${status} ${JSON.stringify(answer)?.slice(0, 200)}`)
    return answer.result
  }

  close () { this.agent.destroy() }
}

class StreamClient extends HttpClient {
  async open (other) {
    if (other !== undefined) {
      this.headers = other.headers
      this.nextId = (other.taken = (other.taken ?? 0) + 1) * 1e9
      return
    }
    const text = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1' } } })
    const { status, headers } = await this.post(this.path, text, {}, () => {})
    if (status !== 200) throw new Error(`initialize: ${status}`)
    this.headers = { 'mcp-session-id': headers['mcp-session-id'], 'mcp-protocol-version': '2025-11-25' }
    await this.post(this.path, '{"jsonrpc":"2.0","method":"notifications/initialized"}', this.headers)
  }

  async call (name, args, { token, ontold } = {}) {
    const { content: [{ text }] } = await this.ask('tools/call', { name, arguments: args, ...(token !== undefined && { _meta: { progressToken: token } }) }, this.headers, ontold)
    return text
  }

  async end () {
    await new Promise((resolve, reject) => {
      request({ agent: this.agent, host: '127.0.0.1', port: this.port, path: this.path, method: 'DELETE', headers: this.headers }, response => response.resume().on('end', resolve)).on('error', reject).end()
    })
    this.close()
  }
}

class ModernClient extends HttpClient {
  async open () {}

  async call (name, args, { token, ontold } = {}) {
    const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': name }
    const { content: [{ text }] } = await this.ask('tools/call', { name, arguments: args, _meta: token === undefined ? MODERN : { ...MODERN, progressToken: token } }, headers, ontold)
    return text
  }

  async end () { this.close() }
}

class SseClient extends HttpClient {
  #open = new Map()
  #told

  async open (other) {
    if (other !== undefined) throw new Error('a session of SSE has one stream')
    this.messages = await new Promise((resolve, reject) => {
      this.stream = request({ host: '127.0.0.1', port: this.port, path: this.path, headers: { accept: 'text/event-stream' } }, (response) => {
        const read = eventReader((message, event) => {
          if (event === 'endpoint') resolve(message)
          else if (message.method !== undefined) this.#told?.(message)
          else this.#open.get(message.id)?.(message)
        })
        response.on('data', read).on('error', () => {})
      }).on('error', reject).end()
    })
    await this.ask('initialize', { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'bench', version: '1' } })
    await this.post(this.messages, '{"jsonrpc":"2.0","method":"notifications/initialized"}')
  }

  async ask (method, params) {
    const id = this.nextId++
    const answered = new Promise(resolve => this.#open.set(id, resolve))
    const { status } = await this.post(this.messages, JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    if (status >= 300) throw new Error(`${method}: ${status}`)
    const { result } = await answered
    this.#open.delete(id)
    if (result === undefined) throw new Error(`${method}: failed`)
    return result
  }

  async call (name, args, { token, ontold } = {}) {
    this.#told = ontold
    const { content: [{ text }] } = await this.ask('tools/call', { name, arguments: args, ...(token !== undefined && { _meta: { progressToken: token } }) })
    return text
  }

  async end () { this.close() }

  close () {
    this.stream?.destroy()
    super.close()
  }
}

/** Reads server-sent events from chunks; calls back with the parsed data, or the text of the event `endpoint`. */
function eventReader (onevent) {
  let parts = []
  return (chunk) => {
    parts.push(chunk)
    // whole events only: an event of 10 MB comes in many chunks
    if (chunk.lastIndexOf('\n\n') === -1 && chunk.at(-1) !== 10) return
    const text = Buffer.concat(parts).toString()
    const end = text.lastIndexOf('\n\n')
    if (end === -1) return
    for (const block of text.slice(0, end).split('\n\n')) {
      let event = 'message'
      let data = ''
      for (const line of block.split('\n')) {
        if (line.startsWith('event:')) event = line.slice(6).trim()
        else if (line.startsWith('data:')) data += line.slice(5).trim()
      }
      if (event === 'endpoint') onevent(data, event)
      else if (data !== '') onevent(JSON.parse(data), event)
    }
    parts = [Buffer.from(text.slice(end + 2))]
  }
}
