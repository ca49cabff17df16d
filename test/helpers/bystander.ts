import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { call, initialize, post } from './http.js'
import { live } from './live.js'
import { toolText } from './tool-text.js'

export interface Bystander {
  /** Its call goes on as if nothing had happened, and its session too. */
  undisturbed: () => Promise<void>
}

/** A client with a call under way and a stream open, while others do what they should not. */
export async function standBy (t: Test, app: FastifyInstance, url: string): Promise<Bystander> {
  const session = await initialize(app)
  const listening = await live(t, `${url}/stream`, { headers: session })
  const working = await live(t, `${url}/stream`, { headers: session, method: 'POST', body: call(1, 'gated', {}, { progressToken: 'p' }) })
  await working.until(() => working.messages.length === 1)
  const undisturbed = async (): Promise<void> => {
    const opened = await post(app, call(2, 'open'), session)
    t.equal(toolText(opened), 'opened', 'the bystander can call')
    t.equal(await working.ended, 'whole')
    t.match(working.messages, [{ params: { progress: 1 } }, { params: { progress: 2 } }, { params: { progress: 3 } }, { id: 1, result: { content: [{ text: 'through' }] } }], 'the bystander\'s call has gone on')
    t.equal(working.messages.length, 4)
    t.notOk(listening.response.closed, 'the bystander still listens')
  }
  return { undisturbed }
}
