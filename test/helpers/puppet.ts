import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { Message, type Connect, type ConnectContext, type SendOptions, type Transport } from '@mcp-proxy/protocol'
import { mcpSse, type McpSseOptions } from '@mcp-proxy/sse'
import { mcpStream, type McpStreamOptions } from '@mcp-proxy/stream'
import type { Teardown } from './app.js'

/** One client, as the server behind an endpoint sees it. It answers when the test says so; the handshake and pings at once. */
export class Party {
  readonly heard: Message[] = []
  closed = false
  readonly context: ConnectContext
  readonly #transport: Transport
  readonly #waiting = new Set<() => void>()

  constructor (transport: Transport, context: ConnectContext) {
    this.#transport = transport
    this.context = context
    transport.onmessage = (message) => {
      this.heard.push(message)
      if (message.method === 'initialize') this.answer(message.rawId ?? '', { protocolVersion: message.params?.['protocolVersion'], capabilities: {}, serverInfo: { name: 'puppet', version: '1' } })
      if (message.method === 'ping') this.answer(message.rawId ?? '', {})
      for (const look of [...this.#waiting]) look()
    }
  }

  /** Answers a request; `rawId` is JSON text. */
  answer (rawId: string | number, result: object = {}): void | Promise<void> {
    return this.#transport.send(Message.result(String(rawId), JSON.stringify(result)))
  }

  /** Says something that is no answer, about a request or about none. */
  say (data: unknown, about?: string | number): void | Promise<void> {
    const options: SendOptions = about === undefined ? {} : { relatedRequestId: String(about) }
    return this.#transport.send(Message.notification('notifications/message', { level: 'info', data }), options)
  }

  /** Says that a list has changed. */
  change (kind: string): void | Promise<void> {
    return this.#transport.send(Message.notification(`notifications/${kind}/list_changed`))
  }

  /** Asks the client. */
  ask (rawId: string, method: string): void | Promise<void> {
    return this.#transport.send(Message.request(rawId, method, '{}'))
  }

  /** The request with that id, once it has come. */
  async called (rawId: string | number): Promise<Message> {
    return await new Promise((resolve) => {
      const look = (): void => {
        const found = this.heard.find(message => message.rawId === String(rawId) && message.kind === 'request')
        if (found === undefined) return
        this.#waiting.delete(look)
        resolve(found)
      }
      this.#waiting.add(look)
      look()
    })
  }
}

/** A server behind an endpoint whose strings the test holds. */
export class Puppet {
  readonly parties: Party[] = []
  readonly connect: Connect = (transport, context) => {
    const party = new Party(transport, context)
    this.parties.push(party)
    return { close: async () => { party.closed = true } }
  }

  /** The client that came last. */
  get party (): Party {
    const party = this.parties.at(-1)
    if (party === undefined) throw new Error('no client has come')
    return party
  }
}

export interface PuppetOptions {
  stream?: McpStreamOptions
  sse?: McpSseOptions
  server?: FastifyServerOptions
}

/** Both endpoints in front of a puppet, closed with the test. */
export async function buildPuppet (t: Teardown, { stream = {}, sse = {}, server = {} }: PuppetOptions = {}): Promise<{ app: FastifyInstance, puppet: Puppet }> {
  const puppet = new Puppet()
  const app = Fastify({ logger: false, ...server })
  t.teardown(() => app.close())
  const { connect } = puppet
  await app.register(mcpStream, { connect, closeGrace: 0, ...stream })
  await app.register(mcpSse, { connect, closeGrace: 0, ...sse })
  await app.ready()
  return { app, puppet }
}

/** The same, listening on a free port of the loopback address. */
export async function startPuppet (t: Teardown, options: PuppetOptions = {}): Promise<{ app: FastifyInstance, puppet: Puppet, url: string }> {
  const built = await buildPuppet(t, options)
  return { ...built, url: await built.app.listen({ port: 0, host: '127.0.0.1' }) }
}
