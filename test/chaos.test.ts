import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { CHILD, lean, startProxy } from './helpers/app.js'

/** How long children are killed under load. A minute shows more: `CHAOS_SECONDS=60 TAP_TIMEOUT=300 node test/.test/chaos.test.js`. */
const SECONDS = Number(process.env['CHAOS_SECONDS'] ?? 6)
const SESSIONS = 20
const TIMEOUT = 20_000

/** Processes of this machine that were started with a marker among their arguments. */
function processesWith (marker: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(marker)
    } catch {
      return false
    }
  })
}

/** MiB of heap and buffers after the garbage is collected; only where `--expose-gc` lets it be. */
function heap (): string | undefined {
  if (globalThis.gc === undefined) return undefined
  globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  return ((heapUsed + external) / 1024 / 1024).toFixed(1)
}

for (const isolation of ['shared', 'session', 'request'] as const) {
  t.test(`children are killed at random under load: isolation ${isolation}`, { skip: process.platform !== 'linux' && 'looks into /proc', timeout: (SECONDS + 60) * 1000 }, async (t) => {
    const marker = `chaos-${process.pid}-${isolation}`
    const { app, url } = await startProxy(t, { command: lean(CHILD), isolation, args: [marker], requestTimeout: TIMEOUT, restart: { maxFailures: 1000, delay: 5, maxDelay: 50 }, closeGrace: 0 })
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    const post = async (body: object, session: Record<string, string> = {}): Promise<{ status: number, id: string | null, text: string }> => {
      const response = await fetch(`${url}/stream`, { method: 'POST', headers: { ...headers, ...session }, body: JSON.stringify(body) })
      return { status: response.status, id: response.headers.get('mcp-session-id'), text: await response.text() }
    }

    // after a while: at first memory grows with the code that is loaded
    let before: string | undefined
    const warm = setTimeout(() => { before = heap() }, SECONDS * 300)
    t.teardown(() => clearTimeout(warm))
    const ended = { answered: 0, failed: 0, wrong: [] as string[] }
    const until = Date.now() + SECONDS * 1000
    const client = async (n: number): Promise<void> => {
      const initialize = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: `c${n}`, version: '1' } } }
      let id: string | null = null
      while (id === null) id = (await post(initialize)).id
      for (let call = 1; Date.now() < until; call++) {
        const text = `${n}/${call}`
        const answer = await post({ jsonrpc: '2.0', id: call, method: 'tools/call', params: { name: call % 3 === 0 ? 'sleep' : 'echo', arguments: { text, ms: 5 } } }, { 'mcp-session-id': id })
        // the answer, or the last event of a stream
        const message = answer.text.startsWith('{') ? answer.text : answer.text.split('data: ').at(-1) ?? ''
        const result = call % 3 === 0 ? '"slept"' : `"${text}"`
        if (answer.status === 404) ended.wrong.push(`session ${n} was lost`)
        else if (message.includes(`"id":${call}`) && message.includes('"error"')) ended.failed++
        else if (message.includes(`"id":${call}`) && message.includes(result)) ended.answered++
        else ended.wrong.push(`${text}: ${answer.status} ${answer.text}`)
      }
    }
    const killer = setInterval(() => {
      // one that starts is mostly spared: where machines are slow no child would ever be ready
      const children = app.mcpBridge.status().children.filter(({ pid, state }) => pid !== undefined && (state === 'ready' || Math.random() < 0.1))
      const victim = children[Math.floor(Math.random() * children.length)]
      if (victim?.pid === undefined) return
      try {
        process.kill(victim.pid, 'SIGKILL')
      } catch {
        // it has ended by itself in between
      }
    }, 100)
    t.teardown(() => clearInterval(killer))
    await Promise.all(Array.from({ length: SESSIONS }, async (_, n) => await client(n)))
    clearInterval(killer)

    if (before !== undefined) t.comment(`heap after ${SECONDS} s of ${isolation}: ${heap()} MiB, ${before} MiB after a third of it`)
    t.same(ended.wrong.slice(0, 5), [], `${ended.answered} answered, ${ended.failed} failed with an error`)
    t.ok(ended.answered > 0, 'work was done')
    t.ok(ended.failed > 0, 'children died in calls')
    await app.close()
    t.same(processesWith(marker), [], 'no process is left')
  })
}
