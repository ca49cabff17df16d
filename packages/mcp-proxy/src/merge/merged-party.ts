import { CANCELLED_ID, METHOD_NOT_FOUND, Message, idKey, mcpError, toRpcError, type CodedError, type Connect, type ConnectContext, type Connection, type SendOptions, type Transport } from '@mcp-proxy/protocol'
import { GatheredCall, TriedCall, noAnswer, type Call, type Finish } from './call.js'
import { mergeHandshakes, reasonOf } from './handshake.js'
import { HostRequests } from './host-requests.js'
import { LISTS } from './lists.js'
import { MergedLists } from './merged-lists.js'
import { ResourceOwners } from './resource-owners.js'
import { Upstream, type UpstreamListener } from './upstream.js'
import type { Names } from './names.js'

export interface MergedPartyOptions {
  readonly servers: ReadonlyMap<string, Connect>
  readonly names: Names
  /** Milliseconds that an answer of all servers waits for the last of them. */
  readonly patience: number
}

/** Requests that are about one resource. */
const ABOUT_RESOURCE = new Set(['resources/read', 'resources/subscribe', 'resources/unsubscribe'])
/** Requests that are about one tool or prompt, and what it takes to have some. */
const ABOUT_NAME: ReadonlyMap<string, string> = new Map([['tools/call', 'tools'], ['prompts/get', 'prompts']])

/** One client that shakes hands, in front of several servers that do: it sees one. */
export class MergedParty implements Connection, UpstreamListener {
  readonly #transport: Transport
  readonly #context: ConnectContext
  readonly #options: MergedPartyOptions
  readonly #servers: readonly Upstream[]
  /** What the client waits for, and what is asked on its behalf, by id. */
  readonly #calls = new Map<string, Call>()
  readonly #hostRequests = new HostRequests()
  readonly #owners = new ResourceOwners()
  readonly #lists: MergedLists
  #introduced = false
  #closed = false

  constructor (transport: Transport, context: ConnectContext, options: MergedPartyOptions) {
    this.#transport = transport
    this.#context = context
    this.#options = options
    this.#servers = [...options.servers.keys()].map(name => new Upstream(name, this))
    this.#lists = new MergedLists({
      names: options.names,
      owners: this.#owners,
      log: context.log,
      patience: options.patience,
      able: capability => this.#able(capability),
      run: (id, make, done) => this.#run(id, make, done),
    })
    transport.onmessage = message => this.#receive(message)
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#transport.onmessage = undefined
    for (const [id, call] of this.#calls) call.cancel(Message.notification('notifications/cancelled', { requestId: JSON.parse(id) as unknown }))
    this.#calls.clear()
    await Promise.all(this.#servers.map(server => server.end()))
  }

  heard (server: Upstream, message: Message, options: SendOptions | undefined): void | Promise<void> {
    if (this.#closed) return
    if (message.kind === 'response') return this.#calls.get(message.rawId ?? '')?.answered(server, message, options)
    if (message.kind === 'request') return this.#ask(server, message, options)
    if (message.method === 'notifications/cancelled') {
      const told = this.#hostRequests.cancel(server, message)
      return told && this.#transport.send(told, options)
    }
    if (message.method === 'notifications/resources/list_changed') {
      this.#owners.forget(server)
      this.#lists.forget()
    }
    return this.#transport.send(message, options)
  }

  lost (server: Upstream): void {
    if (this.#closed) return
    this.#context.log.error({ mcpServer: server.name }, 'one of the merged servers has gone')
    this.#owners.forget(server)
    for (const call of [...this.#calls.values()]) call.lost(server)
    for (const id of this.#hostRequests.drop(server)) this.#tell(Message.notification('notifications/cancelled', { requestId: Number(id), reason: 'its server has gone' }))
    if (this.#servers.every(({ gone }) => gone)) {
      void this.#transport.close()
      return
    }
    for (const kind of ['tools', 'prompts', 'resources']) if (server.can(kind, 'listChanged')) this.#tell(Message.notification(`notifications/${kind}/list_changed`))
  }

  /** What a server asks goes to the client under a number, as those of other servers do. */
  #ask (server: Upstream, request: Message, options: SendOptions | undefined): void | Promise<void> {
    const asked = this.#hostRequests.add(server, request)
    if (asked !== undefined) return this.#transport.send(asked, options)
    server.tell(Message.error(request.rawId as string, { code: METHOD_NOT_FOUND, message: 'the client has too many requests to answer' }))
  }

  #receive (message: Message): void {
    if (message.kind === 'request') this.#request(message)
    else if (message.kind === 'notification') this.#notified(message)
    else {
      const answer = this.#hostRequests.answer(message)
      answer?.server.tell(answer.message)
    }
  }

  #notified (message: Message): void {
    switch (message.method) {
      case 'notifications/cancelled': {
        const id = idKey(message.raw(CANCELLED_ID) ?? '') ?? ''
        // it may never be answered
        if (this.#calls.get(id)?.cancel(message) === true) this.#calls.delete(id)
        break
      }
      case 'notifications/progress': {
        const told = this.#hostRequests.progress(message)
        told?.server.tell(told.message)
        break
      }
      default:
        for (const server of this.#servers) if (server.ready) server.tell(message)
    }
  }

  #request (message: Message): void {
    const { method = '', rawId: id = '' } = message
    try {
      if (this.#calls.has(id)) throw mcpError('MCP_ERR_ID_IN_USE', id)
      if (method === 'initialize') this.#initialize(message)
      else if (method === 'ping') this.#tell(Message.result(id, '{}'))
      else if (!this.#introduced) throw mcpError('MCP_ERR_NOT_INITIALIZED')
      else this.#route(message)
    } catch (error) {
      if (!isCoded(error)) throw error
      this.#refuse(id, error)
    }
  }

  #initialize (message: Message): void {
    if (this.#introduced) throw mcpError('MCP_ERR_SESSION_INITIALIZED')
    this.#introduced = true
    const { servers, names, patience } = this.#options
    const id = message.rawId as string
    for (const server of this.#servers) {
      server.open(servers.get(server.name) as Connect, { ...this.#context, id: `${this.#context.id}/${server.name}`, era: 'legacy' })
    }
    this.#run(id, finish => new GatheredCall({
      id,
      requests: new Map(this.#servers.map(server => [server, message])),
      patience,
      cancels: false,
      combine: (answers) => {
        const answer = mergeHandshakes(id, answers, names)
        for (const server of this.#servers) if (!server.ready) this.#leaveOut(server, answers.get(server))
        return answer
      },
      finish,
    }))
  }

  /** A server that has not shaken hands is no part of this session. */
  #leaveOut (server: Upstream, answer: Message | undefined): void {
    const reason = server.gone ? 'it has gone' : answer === undefined ? 'no answer in time' : reasonOf(answer)
    this.#context.log.error({ mcpServer: server.name, reason }, 'one of the merged servers is left out: it has not shaken hands')
    server.end().catch((err: unknown) => this.#context.log.error({ err, mcpServer: server.name }, 'connection did not end cleanly'))
  }

  #route (message: Message): void {
    const { method = '', rawId: id = '', params } = message
    const list = LISTS.get(method)
    const capability = ABOUT_NAME.get(method)
    if (list !== undefined) this.#lists.page(message, list)
    else if (capability !== undefined) this.#passNamed(message, params?.['name'], ['params', 'name'], capability)
    else if (ABOUT_RESOURCE.has(method)) this.#passResource(message, params?.['uri'])
    else if (method === 'completion/complete') this.#passCompletion(message)
    else if (method === 'logging/setLevel') this.#setLevel(message)
    // nobody knows what it is about: who does not know it has done nothing
    else this.#try(id, message, this.#servers.filter(({ ready }) => ready), answer => errorCode(answer) === METHOD_NOT_FOUND)
  }

  #passNamed (message: Message, name: unknown, path: readonly string[], capability: string): void {
    this.#needs(capability, message)
    const { server: owner, own } = (typeof name === 'string' ? this.#options.names.split(name) : undefined) ?? {}
    const server = this.#servers.find(server => server.ready && server.name === owner && server.can(capability))
    if (server === undefined) throw mcpError('MCP_ERR_PARAMS', `there is no ${JSON.stringify(name)} here`)
    const request = message.rewrite(undefined, [[path, JSON.stringify(own)]])
    this.#try(message.rawId as string, request, [server], () => false)
  }

  #passResource (message: Message, uri: unknown): void {
    this.#needs('resources', message)
    if (typeof uri !== 'string') throw mcpError('MCP_ERR_PARAMS', '"uri" must be a string')
    this.#lists.whose(uri, (candidates) => {
      this.#try(message.rawId as string, message, candidates, () => true, (server) => {
        if (message.method === 'resources/read') this.#owners.addUri(uri, server)
      })
    })
  }

  #passCompletion (message: Message): void {
    this.#needs('completions', message)
    const ref = message.params?.['ref'] as { type?: unknown, name?: unknown, uri?: unknown } | null | undefined
    if (ref?.type === 'ref/prompt') {
      this.#passNamed(message, ref.name, ['params', 'ref', 'name'], 'completions')
    } else if (ref?.type === 'ref/resource' && typeof ref.uri === 'string') {
      this.#lists.whose(ref.uri, candidates => this.#try(message.rawId as string, message, candidates.filter(server => server.can('completions')), () => true))
    } else {
      throw mcpError('MCP_ERR_PARAMS', '"ref" must name a prompt or a resource')
    }
  }

  #setLevel (message: Message): void {
    const id = message.rawId as string
    const servers = this.#needs('logging', message)
    this.#run(id, finish => new GatheredCall({
      id,
      requests: new Map(servers.map(server => [server, message])),
      patience: this.#options.patience,
      cancels: true,
      combine: answers => [...answers.values()].every(answer => answer.failed) ? first(answers) ?? noAnswer(id, this.#options.patience) : Message.result(id, '{}'),
      finish,
    }))
  }

  #try (id: string, request: Message, candidates: readonly Upstream[], isMiss: (answer: Message) => boolean, onhit?: (server: Upstream) => void): void {
    this.#run(id, finish => new TriedCall({ id, candidates, requestFor: () => request, isMiss, onhit, finish }))
  }

  /** @throws MCP_ERR_METHOD_NOT_FOUND where no server has told that it can */
  #needs (capability: string, { method = '' }: Message): readonly Upstream[] {
    const servers = this.#able(capability)
    if (servers.length === 0) throw mcpError('MCP_ERR_METHOD_NOT_FOUND', method)
    return servers
  }

  #able (capability: string): readonly Upstream[] {
    return this.#servers.filter(server => server.ready && server.can(capability))
  }

  /** Starts a call, which ends with what it is finished with; without a `done` that is the client's answer. */
  #run (id: string, make: (finish: Finish) => Call, done: Finish = (answer, options) => this.#transport.send(answer, options)): void {
    const finish: Finish = (answer, options) => {
      if (this.#calls.get(id) !== call) return
      this.#calls.delete(id)
      return done(answer, options)
    }
    const call = make(finish)
    this.#calls.set(id, call)
    call.start()
  }

  #refuse (id: string, error: CodedError): void {
    // without a status, as any server's error comes
    void this.#transport.send(Message.error(id, toRpcError(error)), { relatedRequestId: id })
  }

  #tell (message: Message): void {
    void this.#transport.send(message, { local: true })
  }
}

function first (answers: ReadonlyMap<Upstream, Message>): Message | undefined {
  return answers.values().next().value
}

function errorCode (answer: Message): number {
  return Number(answer.raw(['error', 'code']))
}

function isCoded (error: unknown): error is CodedError {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('MCP_ERR_')
}
