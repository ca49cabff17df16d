import { randomUUID } from 'node:crypto'
import { Message, mcpError, type FastifyBaseLogger } from '@mcp-proxy/protocol'
import { GatheredCall, noAnswer, type Call, type Finish } from './call.js'
import { readCursor, writeCursor, type Places } from './cursor.js'
import { readResult } from './handshake.js'
import { LISTS, readPage, rename, type ListItem, type ListKind } from './lists.js'
import type { Names } from './names.js'
import type { ResourceOwners } from './resource-owners.js'
import type { Upstream } from './upstream.js'

export interface MergedListsOptions {
  readonly names: Names
  readonly owners: ResourceOwners
  readonly log: FastifyBaseLogger
  readonly patience: number
  /** Servers that have told that they can do something. */
  readonly able: (capability: string) => readonly Upstream[]
  /** Starts a call; without `done` its end is the client's answer. */
  readonly run: (id: string, make: (finish: Finish) => Call, done?: Finish) => void
}

/** Pages that are read to find out whose a resource is. */
const MAX_PAGES = 50

/** Lists of all servers as one: a page of it is a page of each server that has more. */
export class MergedLists {
  readonly #options: MergedListsOptions
  /** Who waits to be told whose a resource is; `undefined` when nobody asks. */
  #waiting: Array<() => void> | undefined
  /** All resources that there are have been listed. */
  #learned = false
  /** Ids of requests of our own, which no client would think of. */
  readonly #ids = `mcp-proxy-${randomUUID()}`
  #last = 0

  constructor (options: MergedListsOptions) {
    this.#options = options
  }

  /**
   * Asks for a page.
   * @throws MCP_ERR_METHOD_NOT_FOUND where no server has such lists, MCP_ERR_PARAMS
   */
  page (request: Message, kind: ListKind, done?: Finish): void {
    const { able, run, patience } = this.#options
    const id = request.rawId as string
    const servers = able(kind.capability)
    if (servers.length === 0) throw mcpError('MCP_ERR_METHOD_NOT_FOUND', request.method ?? '')
    const cursor = request.params?.['cursor']
    const places = cursor === undefined ? undefined : readCursor(cursor)
    const requests = new Map(servers.filter(({ name }) => places === undefined || places.has(name)).map(server => [server, pageRequest(request, places?.get(server.name))]))
    run(id, finish => new GatheredCall({ id, requests, patience, cancels: true, combine: answers => this.#combine(id, kind, requests, answers), finish }), done)
  }

  /** Finds out who may have a resource: one server, if somebody lists it; else all that have any. */
  whose (uri: string, then: (candidates: readonly Upstream[]) => void): void {
    const { owners, able } = this.#options
    const tell = (): void => {
      const found = owners.find(uri).filter(({ ready }) => ready)
      then(found.length > 0 ? found : able('resources'))
    }
    if (this.#learned || owners.find(uri).length > 0) {
      tell()
    } else if (this.#waiting !== undefined) {
      this.#waiting.push(tell)
    } else {
      this.#waiting = [tell]
      this.#learn(['resources/list', 'resources/templates/list'], undefined, MAX_PAGES)
    }
  }

  /** The resources of a server are not what they were. */
  forget (): void {
    this.#learned = false
  }

  /** Lists all resources, then all templates: whose they are is kept on the way. */
  #learn (methods: readonly string[], cursor: unknown, pages: number): void {
    const [method = '', ...others] = methods
    const kind = LISTS.get(method)
    if (kind === undefined || this.#options.able(kind.capability).length === 0) {
      this.#learned = true
      const waiting = this.#waiting ?? []
      this.#waiting = undefined
      for (const tell of waiting) tell()
      return
    }
    const request = Message.request(JSON.stringify(`${this.#ids}-${++this.#last}`), method, cursor === undefined ? '{}' : JSON.stringify({ cursor }))
    this.page(request, kind, (answer) => {
      const next = readResult(answer)?.['nextCursor']
      if (next === undefined || pages === 0) this.#learn(others, undefined, MAX_PAGES)
      else this.#learn(methods, next, pages - 1)
    })
  }

  #combine (id: string, kind: ListKind, requests: ReadonlyMap<Upstream, Message>, answers: ReadonlyMap<Upstream, Message>): Message {
    const items: string[] = []
    const next = new Map<string, string>()
    let failure: Message | undefined
    let listed = requests.size === 0
    for (const [server, request] of requests) {
      const answer = answers.get(server)
      const page = answer === undefined ? undefined : readPage(answer, kind)
      if (page === undefined) {
        this.#options.log.warn({ mcpServer: server.name, method: request.method }, 'a list lacks what one of the merged servers has: it did not answer with a list')
        if (answer?.failed === true) failure ??= answer
        continue
      }
      listed = true
      for (const item of page.items) {
        const text = this.#own(server, kind, item)
        if (text !== undefined) items.push(text)
      }
      if (page.nextCursor !== undefined) next.set(server.name, page.nextCursor)
    }
    return listed ? Message.result(id, resultText(kind, items, next)) : failure ?? noAnswer(id, this.#options.patience)
  }

  /** An item as the client sees it; `undefined` when another server has it already. */
  #own (server: Upstream, { key }: ListKind, item: ListItem): string | undefined {
    const { names, owners } = this.#options
    if (key === 'name') return rename(item.text, names.prefix(server.name) + item.key)
    const added = key === 'uri' ? owners.addUri(item.key, server) : owners.addTemplate(item.key, server)
    return added ? item.text : undefined
  }
}

function resultText ({ member }: ListKind, items: readonly string[], next: Places): string {
  return `{"${member}":[${items.join(',')}]${next.size === 0 ? '' : `,"nextCursor":${JSON.stringify(writeCursor(next))}`}}`
}

/** The client's request with a server's own cursor. Progress of several servers would be told under one token: none is. */
function pageRequest (request: Message, cursor: string | undefined): Message {
  return request.edit(['params'], { cursor: cursor === undefined ? undefined : JSON.stringify(cursor) }).edit(['params', '_meta'], { progressToken: undefined })
}
