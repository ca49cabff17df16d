import { judgeEnvelope, readEnvelope, splitArray, type Envelope, type MessageKind } from './envelope.js'
import { mcpError } from './errors.js'
import { placeMembers, prependMembers, type Members } from './members.js'
import { findSpan, findStart, skipSpace, type Span } from './scan.js'
import { isObject } from './object.js'
import { moveSpan, replace, splice, type Place } from './splice.js'
import type { Id, JsonRpcErrorObject, JsonRpcMessage } from './json-rpc.js'

/** Messages that a batch may have. */
export const MAX_BATCH = 1000

/** A path of member names inside a message, for example `['params', 'requestId']`. */
export type Path = readonly string[]

const NONE: readonly Message[] = []
const PARAMS: Path = ['params']
const META_NAME = Buffer.from(',"_meta":')

/** Where a request names the token it wants progress under. */
export const REQUEST_PROGRESS_TOKEN: Path = ['params', '_meta', 'progressToken']
/** Where `notifications/progress` names it. */
export const PROGRESS_TOKEN: Path = ['params', 'progressToken']
/** Where `notifications/cancelled` names the request. */
export const CANCELLED_ID: Path = ['params', 'requestId']

/**
 * One JSON-RPC message that keeps its bytes. What crosses the proxy is these bytes; only ids and tokens are replaced, by
 * splicing. So member order, unknown members and numbers beyond 2^53 stay what they were.
 *
 * It reads like a plain JSON-RPC object too (`method`, `params`, `result`, `JSON.stringify`); that parses, once, on demand.
 */
export class Message {
  readonly #bytes: Buffer
  readonly #envelope: Envelope
  #json: JsonRpcMessage | undefined

  private constructor (bytes: Buffer, envelope: Envelope, json?: JsonRpcMessage) {
    this.#bytes = bytes
    this.#envelope = envelope
    this.#json = json
  }

  /**
   * Reads a line that a server wrote; `undefined` when it is not a JSON-RPC message. Takes ownership of the bytes.
   * Responses, which may be large and which nobody here looks into, are not parsed: the scan of their envelope suffices.
   */
  static read (line: Buffer): Message | undefined {
    const envelope = readEnvelope(line)
    if (envelope === undefined) return undefined
    if (envelope.kind === 'response') return new Message(line, envelope)
    const json = tryParse(line)
    return json === undefined ? undefined : new Message(line, envelope, json)
  }

  /**
   * Reads a body from a client that holds one message or a batch (2025-03-26, "Batching"). It is judged after one full
   * parse; line breaks between tokens become spaces, since on stdio they would start a second message. Takes ownership of the bytes.
   * @throws MCP_ERR_PARSE, MCP_ERR_INVALID_REQUEST
   */
  static parse (bytes: Buffer): Message | Message[] {
    const json = parseJson(bytes)
    flattenLines(bytes)
    if (!Array.isArray(json)) return new Message(bytes, judgeEnvelope(bytes, json), json as JsonRpcMessage)
    if (json.length === 0) throw mcpError('MCP_ERR_INVALID_REQUEST', 'it is an empty batch')
    // each is judged and forwarded by itself: a body of a million tiny ones would keep everybody else waiting
    if (json.length > MAX_BATCH) throw mcpError('MCP_ERR_INVALID_REQUEST', `it is a batch of ${json.length}, more than ${MAX_BATCH}`)
    const parts = splitArray(bytes)
    return json.map((item: unknown, index) => {
      // where the bytes hold something that is no object, judging the parsed value throws before they are used
      const part = parts[index] ?? bytes
      return new Message(part, judgeEnvelope(part, item), item as JsonRpcMessage)
    })
  }

  /** A message made here, or taken over from an SDK. */
  static from (json: JsonRpcMessage | Message): Message {
    return json instanceof Message ? json : Message.#own(JSON.stringify(json), json)
  }

  static request (rawId: string, method: string, rawParams: string): Message {
    return Message.#own(`{"jsonrpc":"2.0","id":${rawId},"method":${JSON.stringify(method)},"params":${rawParams}}`)
  }

  static notification (method: string, params?: Record<string, unknown>): Message {
    return Message.from({ jsonrpc: '2.0', method, ...(params !== undefined && { params }) })
  }

  /** A successful response; `rawResult` is JSON text. */
  static result (rawId: string, rawResult: string): Message {
    return Message.#own(`{"jsonrpc":"2.0","id":${rawId},"result":${rawResult}}`)
  }

  static error (rawId: string, error: JsonRpcErrorObject): Message {
    return Message.#own(`{"jsonrpc":"2.0","id":${rawId},"error":${JSON.stringify(error)}}`)
  }

  /**
   * Reads a line that may hold a batch, which a server of 2025-03-26 may write. What is no message is left out.
   */
  static readLine (line: Buffer): readonly Message[] {
    if (line[skipSpace(line, 0)] === 0x5b && tryParse(line) !== undefined) return splitArray(line).map(part => Message.read(part)).filter(message => message !== undefined)
    const message = Message.read(line)
    return message === undefined ? NONE : [message]
  }

  /** The message as it crosses: UTF-8 JSON on one line, without the line break. */
  get bytes (): Buffer { return this.#bytes }
  get kind (): MessageKind { return this.#envelope.kind }
  get method (): string | undefined { return this.#envelope.method }
  /** The id as JSON text: `1` and `"1"` differ, and a number beyond 2^53 is exact. */
  get rawId (): string | undefined { return this.#envelope.rawId }

  /** It is a response with an error. */
  get failed (): boolean { return this.#envelope.failed === true }

  get jsonrpc (): '2.0' { return '2.0' }
  get id (): Id | undefined { return this.rawId === undefined ? undefined : JSON.parse(this.rawId) as Id }
  get params (): Record<string, unknown> | undefined { return this.toJSON().params }
  get result (): Record<string, unknown> | undefined { return this.toJSON().result }
  get error (): JsonRpcErrorObject | undefined { return this.toJSON().error }

  toJSON (): JsonRpcMessage {
    return (this.#json ??= JSON.parse(this.#bytes.toString()) as JsonRpcMessage)
  }

  /** The value at a path. Of a message that has not been parsed only this value is. */
  value (path: Path): unknown {
    if (this.#json === undefined) {
      const text = this.raw(path)
      return text === undefined ? undefined : JSON.parse(text)
    }
    let value: unknown = this.#json
    for (const name of path) value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
    return value
  }

  /** The JSON text of the value at a path; `undefined` where there is none. */
  raw (path: Path): string | undefined {
    const span = this.#find(path)
    return span === undefined ? undefined : this.#bytes.toString('utf8', span.start, span.end)
  }

  /** The same message under another id, and with other JSON text at some paths; a path that does not exist is left out. */
  rewrite (rawId: string | undefined, edits: ReadonlyArray<readonly [Path, string]> = []): Message {
    const idSpan = rawId === undefined || rawId === this.rawId ? undefined : this.#envelope.idSpan ?? findSpan(this.#bytes, ['id'])
    let bytes = this.#bytes
    if (edits.length > 0) {
      const places: Place[] = []
      if (idSpan !== undefined && rawId !== undefined) places.push({ start: idSpan.start, end: idSpan.end, text: rawId })
      for (const [path, text] of edits) {
        const span = this.#find(path)
        if (span !== undefined) places.push({ start: span.start, end: span.end, text })
      }
      if (places.length > 0) bytes = splice(bytes, places)
    } else if (idSpan !== undefined && rawId !== undefined) {
      bytes = replace(bytes, idSpan.start, idSpan.end, rawId)
    }
    if (bytes === this.#bytes) return this
    const { kind, method, failed } = this.#envelope
    // rewritten once per crossing: the id's new place is not kept, a second rewriting looks for it
    return new Message(bytes, { kind, method, rawId: rawId ?? this.rawId, idSpan: undefined, failed, params: undefined, meta: undefined })
  }

  /** The same message with members set or taken out of the object at a path, which is made where it is missing. */
  edit (path: Path, members: Members): Message {
    const { params } = this.#envelope
    const [first, ...below] = path
    const place = first === 'params' && params !== undefined ? placeMembers(this.#bytes, below, members, params) : placeMembers(this.#bytes, path, members)
    return place === undefined ? this : this.#spliced(place)
  }

  /**
   * A response with members put before all others of its result, which must not have them yet. However large the result
   * is, it is not looked at.
   * @param set the members as they stand in JSON, between the braces
   */
  prependToResult (set: string): Message {
    const start = findStart(this.#bytes, 'result')
    const place = start === undefined ? undefined : prependMembers(this.#bytes, start, set)
    return place === undefined ? this : this.#spliced(place)
  }

  /** Where the value of `params` starts. */
  get paramsStart (): number | undefined {
    return this.#envelope.params ?? this.#find(PARAMS)?.start
  }

  #find (path: Path): Span | undefined {
    const { params } = this.#envelope
    return params !== undefined && path.length > 1 && path[0] === 'params' ? findSpan(this.#bytes, path, params, 1) : findSpan(this.#bytes, path)
  }

  /** The same message without `params._meta`. */
  withoutMeta (): Message {
    const { meta } = this.#envelope
    const place = meta === undefined ? undefined : removal(this.#bytes, meta)
    return place === undefined ? this.edit(PARAMS, { _meta: undefined }) : this.#spliced(place)
  }

  #spliced (place: Place): Message {
    const { kind, method, failed, rawId, idSpan, params } = this.#envelope
    const start = params !== undefined && params < place.start ? params : undefined
    return new Message(replace(this.#bytes, place.start, place.end, place.text), { kind, method, rawId, idSpan: moveSpan(idSpan, place), failed, params: start, meta: undefined })
  }

  static #own (text: string, json?: JsonRpcMessage): Message {
    const bytes = Buffer.from(text)
    const envelope = readEnvelope(bytes)
    if (envelope === undefined) throw new TypeError('not a JSON-RPC message')
    return new Message(bytes, envelope, json)
  }
}

// fatal: bytes that are not UTF-8 must not turn into U+FFFD unseen; ignoreBOM: a byte order mark is not JSON
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function parseJson (bytes: Buffer): unknown {
  try {
    return JSON.parse(utf8.decode(bytes))
  } catch (cause) {
    throw mcpError('MCP_ERR_PARSE', { cause })
  }
}

function tryParse (line: Buffer): JsonRpcMessage | undefined {
  try {
    return JSON.parse(line.toString()) as JsonRpcMessage
  } catch {
    return undefined
  }
}

/** Takes the member `_meta` out together with the comma before it; `undefined` where it is written in another way, or comes first. */
function removal (bytes: Buffer, value: Span): Place | undefined {
  const start = value.start - META_NAME.length
  return start > 0 && META_NAME.equals(bytes.subarray(start, value.start)) ? { start, end: value.end, text: '' } : undefined
}

function flattenLines (bytes: Buffer): void {
  for (const lineBreak of [0x0a, 0x0d]) {
    for (let at = bytes.indexOf(lineBreak); at !== -1; at = bytes.indexOf(lineBreak, at + 1)) bytes[at] = 0x20
  }
}
