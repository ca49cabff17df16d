import { workerOfSession, workerOfTarget } from './tags.js'

/** Bytes of a request's head that are looked at; Node's own limit is the same. */
export const MAX_HEAD: number = 16 * 1024

const END = '\r\n\r\n'

/** Whether the head of the first request is all there. */
export function isWholeHead (bytes: Buffer): boolean {
  return bytes.includes(END)
}

/**
 * The worker whose session the first request of a connection names. A hint: the worker that gets the connection reads the
 * request properly, and passes on what is not its own.
 */
export function workerOfHead (bytes: Buffer): number | undefined {
  const end = bytes.indexOf(END)
  const head = bytes.toString('latin1', 0, end === -1 ? bytes.length : end)
  const [, target = ''] = /^[A-Z]+ (\S+) HTTP\//.exec(head) ?? []
  const [, id] = /\r\nmcp-session-id:[ \t]*([^\r\n]*?)[ \t]*(?:\r\n|$)/i.exec(head) ?? []
  return workerOfTarget(target) ?? workerOfSession(id)
}
