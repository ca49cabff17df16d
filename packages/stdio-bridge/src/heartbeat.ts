import { DISCOVER, discoverParams } from './handshake.js'
import type { Child } from './child.js'
import type { Hub } from './hub.js'

/** Looks now and then whether a child still answers, and kills one that does not. */
export class Heartbeat {
  readonly #hub: Hub
  readonly #child: Child
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor (hub: Hub, child: Child) {
    this.#hub = hub
    this.#child = child
    if (hub.settings.pingInterval > 0) this.#schedule()
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #schedule (): void {
    if (!this.#stopped) this.#timer = setTimeout(() => this.#beat(), this.#hub.settings.pingInterval).unref()
  }

  #beat (): void {
    const { introduced, own, settings: { pingTimeout } } = this.#hub
    // a server that its client is still shaking hands with has a time of its own for that
    if (!introduced) {
      this.#schedule()
      return
    }
    const asked = Date.now()
    // revision 2026-07-28 has no ping
    const asking = this.#hub.modern ? own.call(DISCOVER, discoverParams(), pingTimeout) : own.call('ping', '{}', pingTimeout)
    asking.then(() => this.#schedule(), () => {
      // not read because its reader is slow, or busy saying other things: it lives
      if (this.#child.paused || this.#hub.heardAt >= asked) this.#schedule()
      else if (!this.#stopped) this.#kill()
    })
  }

  #kill (): void {
    const { events, log, settings: { name, pingTimeout } } = this.#hub
    const { pid } = this.#child
    log.warn({ childPid: pid, pingTimeout }, 'server does not answer ping; it is ended')
    events.report('hang', { server: name, pid })
    this.#child.kill()
  }
}
