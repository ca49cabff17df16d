// Clients that cost little: no SDK, one connection each, and every answer is looked at.
import { Connection } from './connection.mjs'
import { eventReader } from './events.mjs'
import { StdioClient } from './stdio-client.mjs'

const META = 'io.modelcontextprotocol/'
const MODERN = { [`${META}protocolVersion`]: '2026-07-28', [`${META}clientInfo`]: { name: 'bench', version: '1' }, [`${META}clientCapabilities`]: {} }
const JSON_HEADERS = 'Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n'
const INITIALIZED = '{"jsonrpc":"2.0","method":"notifications/initialized"}'

/**
 * Opens a client of the protocol that a target speaks. All have `call`, `end` (of the session, where there is one) and
 * `close` (of the connections, as a client does that leaves without a word).
 * @param session a client whose session this one shares
 */
export async function openClient (target, session) {
  const Client = { stream: StreamClient, modern: ModernClient, sse: SseClient, stdio: StdioClient, hello: HelloClient }[target.protocol]
  const client = new Client(target)
  try {
    await client.open(session)
  } catch (error) {
    client.close()
    throw error
  }
  return client
}

class HttpClient {
  headers = JSON_HEADERS
  nextId = 1

  constructor ({ port, path }) {
    this.port = port
    this.path = path
    this.connection = new Connection(port)
  }

  /** Asks; resolves to the result. `ontold` gets what comes before it. */
  async ask (method, params, headers, ontold) {
    const id = this.nextId++
    let answer
    const events = eventReader((message) => {
      if (message.method === undefined) answer = message
      else ontold?.(message)
    })
    const { status, header, body } = await this.connection.exchange('POST', this.path, headers, JSON.stringify({ jsonrpc: '2.0', id, method, params }), events)
    if (body.length > 0) {
      const type = header('content-type')
      if (!type?.startsWith('application/json')) throw new Error(`${method}: ${status}, answered with ${type}`)
      answer = JSON.parse(body.toString())
    }
    if (answer?.id !== id || answer.result === undefined) throw new Error(`${method}: ${status} ${JSON.stringify(answer?.error ?? answer)?.slice(0, 200)}`)
    this.session ??= header('mcp-session-id')
    return answer.result
  }

  close () { this.connection.close() }
}

class StreamClient extends HttpClient {
  async open (other) {
    if (other !== undefined) {
      this.headers = other.headers
      this.nextId = (other.taken = (other.taken ?? 0) + 1) * 1e9
      return
    }
    await this.ask('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1' } }, this.headers)
    if (this.session !== undefined) this.headers += `Mcp-Session-Id: ${this.session}\r\n`
    this.headers += 'Mcp-Protocol-Version: 2025-11-25\r\n'
    const { status } = await this.connection.exchange('POST', this.path, this.headers, INITIALIZED)
    if (status >= 300) throw new Error(`notifications/initialized: ${status}`)
  }

  async call (name, args, { token, ontold } = {}) {
    return textOf(await this.ask('tools/call', { name, arguments: args, ...(token !== undefined && { _meta: { progressToken: token } }) }, this.headers, ontold))
  }

  /** Opens the stream for what belongs to no request; resolves when it is there. */
  listen () {
    this.stream = new Connection(this.port)
    return opened(this.stream, this.path, this.headers.replace(/^Accept:.*$/m, 'Accept: text/event-stream'))
  }

  async end () {
    if (this.session !== undefined) await this.connection.exchange('DELETE', this.path, this.headers.replace(/^Content-Type:.*\r\n/m, ''), '')
    this.close()
  }

  close () {
    this.stream?.close()
    super.close()
  }
}

class ModernClient extends HttpClient {
  async open () {}

  async call (name, args, { token, ontold } = {}) {
    const headers = `${JSON_HEADERS}Mcp-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: ${name}\r\n`
    return textOf(await this.ask('tools/call', { name, arguments: args, _meta: token === undefined ? MODERN : { ...MODERN, progressToken: token } }, headers, ontold))
  }

  async end () { this.close() }
}

class SseClient extends HttpClient {
  #open = new Map()
  #told
  stream = new Connection(this.port)

  async open () {
    this.messages = await new Promise((resolve, reject) => {
      const read = eventReader((message, event) => {
        if (event === 'endpoint') resolve(message.replace(/^https?:..[^/]*/, ''))
        else if (message.method !== undefined) this.#told?.(message)
        else this.#settle(message.id, message)
      })
      const ended = (error) => {
        reject(error)
        for (const id of this.#open.keys()) this.#settle(id)
      }
      this.stream.exchange('GET', this.path, 'Accept: text/event-stream\r\n', '', read).then(({ status }) => ended(new Error(`the stream has ended: ${status}`)), ended)
    })
    await this.ask('initialize', { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'bench', version: '1' } })
    await this.connection.exchange('POST', this.messages, JSON_HEADERS, INITIALIZED)
  }

  #settle (id, message) {
    this.#open.get(id)?.(message)
    this.#open.delete(id)
  }

  async ask (method, params) {
    const id = this.nextId++
    const answered = new Promise(resolve => this.#open.set(id, resolve))
    const { status } = await this.connection.exchange('POST', this.messages, JSON_HEADERS, JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    if (status >= 300) throw new Error(`${method}: ${status}`)
    const answer = await answered
    if (answer?.result === undefined) throw new Error(`${method}: ${JSON.stringify(answer?.error ?? 'the stream has ended').slice(0, 200)}`)
    return answer.result
  }

  async call (name, args, { token, ontold } = {}) {
    this.#told = ontold
    return textOf(await this.ask('tools/call', { name, arguments: args, ...(token !== undefined && { _meta: { progressToken: token } }) }))
  }

  /** The session is its stream. */
  async listen () {}

  async end () { this.close() }

  close () {
    this.stream.close()
    super.close()
  }
}

/** Asks for a greeting, whatever is called. */
class HelloClient extends HttpClient {
  async open () {}

  async call () {
    const { status, body } = await this.connection.exchange('GET', this.path, '', '')
    return status === 200 ? JSON.parse(body.toString()).hello : undefined
  }
}

function textOf (result) {
  return result.content[0].text
}

/** Resolves with the first bytes of a stream, which then stays open. */
function opened (connection, path, headers) {
  return new Promise((resolve, reject) => {
    connection.exchange('GET', path, headers, '', resolve).then(({ status }) => reject(new Error(`GET: ${status}`)), reject)
  })
}
