import { Message, mcpError } from '@mcp-proxy/protocol'
import { createParser } from 'eventsource-parser'
import type { RemoteSettings } from './options.js'

/** An event of an event stream. */
export interface StreamEvent {
  readonly id?: string | undefined
  readonly event?: string | undefined
  readonly data: string
}

type Limits = Pick<RemoteSettings, 'name' | 'maxMessageBytes'>

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const SPACE = 0x20

/** The media type of an answer, without parameters. */
export function mediaType (response: Response): string {
  return (response.headers.get('content-type') ?? '').split(';', 1).join('').trim().toLowerCase()
}

/** The messages of a body or of an event: one, or those of a batch (2025-03-26). What is none is left out. */
export function readMessages (bytes: Buffer): readonly Message[] {
  // white space in JSON, but on stdio they would start another message
  for (const lineBreak of [LINE_FEED, CARRIAGE_RETURN]) {
    for (let at = bytes.indexOf(lineBreak); at !== -1; at = bytes.indexOf(lineBreak, at + 1)) bytes[at] = SPACE
  }
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === SPACE) end--
  return Message.readLine(bytes.subarray(0, end))
}

/** The messages of an event, where it is one that has some. */
export function messagesOf ({ data, event }: StreamEvent): readonly Message[] {
  return data === '' || (event !== undefined && event !== 'message') ? [] : readMessages(Buffer.from(data))
}

/** @throws MCP_ERR_REMOTE_MESSAGE_SIZE, or what the connection broke with */
export async function readBody ({ body }: Response, { name, maxMessageBytes }: Limits): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.length
    if (size > maxMessageBytes) throw mcpError('MCP_ERR_REMOTE_MESSAGE_SIZE', name, maxMessageBytes)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/**
 * The events of an answer, until the server ends it. The next bytes are read when the last event has been dealt with, so
 * that a party that reads slowly slows the server down.
 * @param onretry is told how long the server wants its clients to wait before they come back
 * @throws MCP_ERR_REMOTE_MESSAGE_SIZE, or what the connection broke with
 */
export async function * readEvents ({ body }: Response, { name, maxMessageBytes }: Limits, onretry: (milliseconds: number) => void): AsyncGenerator<StreamEvent, void, undefined> {
  const events: StreamEvent[] = []
  let tooLarge = false
  const parser = createParser({
    onEvent: (event) => {
      // one that came whole was never kept
      if (event.data.length > maxMessageBytes) tooLarge = true
      else events.push(event)
    },
    onRetry: onretry,
    onError: (error) => { tooLarge ||= error.type === 'max-buffer-size-exceeded' },
    maxBufferSize: maxMessageBytes,
  })
  const decoder = new TextDecoder()
  for await (const chunk of body ?? []) {
    parser.feed(decoder.decode(chunk, { stream: true }))
    yield * events.splice(0)
    if (tooLarge) throw mcpError('MCP_ERR_REMOTE_MESSAGE_SIZE', name, maxMessageBytes)
  }
}
