/** What a function that authenticates says: an object or a name lets in and tells who it is, `true` only lets in; all else refuses, and so does an object whose `authenticated` is not true, or whose user is not there. */
export type Verdict = object | string | boolean | null | undefined

/** Members in which an object may name its user, the first that is there. */
const NAMES = ['userId', 'id', 'sub'] as const

/** Whether a verdict lets in, and as whom; `principal` is `undefined` where nobody is named. */
export function readVerdict (verdict: Verdict): { readonly accepted: boolean, readonly principal: string | undefined } {
  if (typeof verdict === 'string') return { accepted: verdict !== '', principal: verdict === '' ? undefined : verdict }
  if (verdict === null || typeof verdict !== 'object') return { accepted: verdict === true, principal: undefined }
  // callers of the other mcp-proxy refuse with { authenticated: false, error }
  if ('authenticated' in verdict && verdict.authenticated !== true) return { accepted: false, principal: undefined }
  const named = NAMES.filter(name => name in verdict)
  for (const name of named) {
    const value: unknown = Reflect.get(verdict, name)
    if (typeof value === 'string' && value !== '') return { accepted: true, principal: value }
    if (typeof value === 'number') return { accepted: true, principal: String(value) }
  }
  // whoever looks for a user and finds none, as in { userId: lookUp(key) }, does not mean to let strangers in
  return { accepted: named.length === 0, principal: undefined }
}
