import { channel } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'

/** What happens to the children of a bridge, by name. */
export interface BridgeEventMap {
  /** A child process was started. */
  spawn: [{ server: string, pid: number }]
  /** A child has shaken hands and takes calls. */
  ready: [{ server: string, pid: number | undefined }]
  /** A child has ended; `expected` when the bridge ended it. */
  exit: [{ server: string, pid: number | undefined, code: number | null, signal: NodeJS.Signals | null, expected: boolean }]
  /** A lost child will be started again after `delay` milliseconds. */
  restart: [{ server: string, failures: number, delay: number }]
  /** Too many losses in a row: nothing is started for `coolDown` milliseconds. */
  breaker: [{ server: string, failures: number, coolDown: number }]
  /** A call was given up after its time. */
  timeout: [{ server: string, method: string }]
  /** A child did not answer `ping` and is ended. */
  hang: [{ server: string, pid: number | undefined }]
}

/** Events that have happened are published here too, as `{ event, ...details }`, for tracing that knows no bridge. */
export const DIAGNOSTICS_CHANNEL = 'mcp-proxy:bridge'

const diagnostics = channel(DIAGNOSTICS_CHANNEL)

/** The typed events of one bridge. */
export class BridgeEvents extends EventEmitter<BridgeEventMap> {
  /** Emits an event and publishes it on the diagnostics channel. */
  report<Name extends keyof BridgeEventMap> (event: Name, details: BridgeEventMap[Name][0]): void {
    // the signature of emit cannot be told about one name of a generic map
    EventEmitter.prototype.emit.call(this, event, details)
    if (diagnostics.hasSubscribers) diagnostics.publish({ event, ...details })
  }
}
