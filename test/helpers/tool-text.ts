import type { LightMyRequestResponse } from 'fastify'
import { answerOf } from './http.js'

/** What a tool of the test child has said; the whole answer when it is no such thing. */
export function toolText (response: LightMyRequestResponse): string {
  const answer = answerOf(response) as { result?: { content?: Array<{ text?: string }> } } | undefined
  return answer?.result?.content?.[0]?.text ?? response.body
}
