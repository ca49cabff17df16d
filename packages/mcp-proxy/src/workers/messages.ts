import type { Target } from '../cli/service.js'
import type { Settings } from '../settings.js'

/** What a worker needs to know to begin. */
export interface StartMessage {
  readonly type: 'start'
  /** From 1. One that replaces another has its number. */
  readonly number: number
  readonly count: number
  /** Where workers have their private sockets. */
  readonly directory: string
  /** With the key of states, which all share. */
  readonly settings: Settings
  readonly target: Target
  /** Where people reach the proxy, for what is printed. */
  readonly address: string
  /** Others serve already: a command that does not run now may run later. */
  readonly replaces: boolean
}

/** What the primary says. A connection comes with its socket. */
export type ToWorker =
  | StartMessage
  | { readonly type: 'connection', readonly head: string }
  | { readonly type: 'stop', readonly reason: string }
  /** No connection comes any more: it may end. Only for one that has closed. */
  | { readonly type: 'end' }
  /** It is to say that it is there. */
  | { readonly type: 'beat' }

/** What a worker says. */
export type FromWorker =
  /** It takes connections. */
  | { readonly type: 'serving' }
  /** It is known what runs, and what to tell people. */
  | { readonly type: 'started', readonly banner: string }
  /** All that was open has ended, also its children. What still comes it refuses, and waits to be told that nothing does. */
  | { readonly type: 'closed' }
  /** It is there. */
  | { readonly type: 'beat' }
  /** It ends, and why: in words for people, with the last lines of the command where there are some, and as an exit code. */
  | { readonly type: 'failed', readonly message: string, readonly stderr: readonly string[], readonly code: number }
