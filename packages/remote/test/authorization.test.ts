import t from 'tap'
import type { OAuthClientProvider } from '@modelcontextprotocol/client'
import { TestParty, makeLog, remote, type LogLine } from './helpers/party.js'
import { scripted, type Asked, type Scripted } from './helpers/scripted.js'

const RESULT = { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 's', version: '1' } }

/** A server that wants a token, and the authorization server beside it, which refreshes them. */
async function guarded (t: Parameters<typeof scripted>[0]): Promise<Scripted & { valid: Set<string>, grants: () => number }> {
  const valid = new Set(['token-0'])
  let grants = 0
  const server = await scripted(t, (asked) => {
    const origin = `http://${asked.headers.host}`
    if (asked.path.startsWith('/.well-known/oauth-protected-resource')) asked.answer({ resource: `${origin}/mcp`, authorization_servers: [origin] })
    else if (asked.path.startsWith('/.well-known/')) {
      asked.answer({ issuer: origin, authorization_endpoint: `${origin}/authorize`, token_endpoint: `${origin}/token`, response_types_supported: ['code'], code_challenge_methods_supported: ['S256'], grant_types_supported: ['authorization_code', 'refresh_token'] })
    } else if (asked.path === '/token') {
      const form = new URLSearchParams(asked.text)
      if (form.get('refresh_token') !== 'refresh') return asked.answer({ error: 'invalid_grant' }, { status: 400 })
      const token = `token-${++grants}`
      valid.add(token)
      asked.answer({ access_token: token, token_type: 'Bearer', refresh_token: 'refresh' })
    } else if (!valid.has((asked.headers.authorization ?? '').replace('Bearer ', ''))) {
      asked.status(401, { 'www-authenticate': `Bearer resource_metadata="${origin}/.well-known/oauth-protected-resource/mcp"` })
    } else answer(asked)
  })
  return { ...server, valid, grants: () => grants, what: () => server.asked.filter(({ path }) => path === '/mcp').map(({ what }) => what) }
}

function answer (asked: Asked): void {
  if (asked.text === '') asked.status(405)
  else if (asked.json.id === undefined) asked.status(202)
  else asked.result(asked.what === 'initialize' ? RESULT : { echoed: asked.what })
}

function provider (tokens: { access_token: string, token_type: string, refresh_token?: string } | undefined): OAuthClientProvider & { sentTo: URL[] } {
  const sentTo: URL[] = []
  let kept = tokens
  return {
    sentTo,
    redirectUrl: 'http://127.0.0.1/callback',
    clientMetadata: { redirect_uris: ['http://127.0.0.1/callback'] },
    clientInformation: () => ({ client_id: 'test' }),
    tokens: () => kept,
    saveTokens: (given) => { kept = given as typeof kept },
    redirectToAuthorization: (url) => { sentTo.push(url) },
    saveCodeVerifier: () => {},
    codeVerifier: () => 'verifier',
  }
}

t.test('the provider’s token goes with each request', async (t) => {
  const server = await guarded(t)
  const party = new TestParty(remote(t, { url: server.url, authProvider: provider({ access_token: 'token-0', token_type: 'Bearer' }) }))
  await party.start()
  t.match(await party.call('x'), { result: { echoed: 'x' } })
  for (const { headers } of server.asked) t.equal(headers.authorization, 'Bearer token-0')
})

t.test('after a 401 the token is renewed, once for all who need it, and the request is made once more', async (t) => {
  const server = await guarded(t)
  const party = new TestParty(remote(t, { url: server.url, era: 'legacy', authProvider: provider({ access_token: 'token-0', token_type: 'Bearer', refresh_token: 'refresh' }) }))
  await party.start()
  await party.call('x')
  server.valid.clear()
  const ids = ['a', 'b', 'c'].map(method => party.ask(method))
  for (const [n, id] of ids.entries()) t.match(await party.answer(id), { result: { echoed: ['a', 'b', 'c'][n] } })
  t.equal(server.grants(), 1)
  t.equal(server.what().filter(what => what === 'a').length, 2)
})

t.test('where a person has to authorize, the request fails, and a later one works', async (t) => {
  const server = await guarded(t)
  const there = provider(undefined)
  const party = new TestParty(remote(t, { url: server.url, authProvider: there }))
  t.match(await party.call('initialize'), { error: { code: -32000, data: { code: 'MCP_ERR_REMOTE_UNAUTHORIZED' } } })
  t.equal(there.sentTo[0]?.pathname, '/authorize')
  await there.saveTokens({ access_token: 'token-0', token_type: 'Bearer' })
  await party.start()
  t.match(await party.call('x'), { result: { echoed: 'x' } })
})

t.test('a server that refuses the new token too is asked twice, not for ever', async (t) => {
  const server = await scripted(t, asked => asked.status(asked.path === '/mcp' ? 401 : 404))
  let count = 0
  const party = new TestParty(remote(t, { url: server.url, era: 'legacy', authProvider: { ...provider(undefined), tokens: () => ({ access_token: `token-${++count}`, token_type: 'Bearer' }) } }))
  t.match(await party.call('initialize'), { error: { data: { code: 'MCP_ERR_REMOTE_UNAUTHORIZED' } } })
  t.equal(server.what().filter(what => what === 'initialize').length, 2)
})

t.test('a provider that fails, or gives what no header can hold, fails the request; nobody reads the token', async (t) => {
  const server = await guarded(t)
  const lines: LogLine[] = []
  for (const tokens of [() => { throw new Error('s3cret') }, () => ({ access_token: 's3cret\n', token_type: 'Bearer' })]) {
    const party = new TestParty(remote(t, { url: server.url, log: makeLog(lines), authProvider: { ...provider(undefined), tokens } }))
    const { error } = await party.call('initialize')
    t.match(error, { data: { code: 'MCP_ERR_REMOTE_UNAUTHORIZED' } })
    t.notMatch(JSON.stringify(error), /s3cret/)
  }
  t.equal(server.asked.length, 0)
  const gone = new TestParty(remote(t, { url: server.url, log: makeLog(lines), authProvider: { ...provider({ access_token: 'old', token_type: 'Bearer', refresh_token: 'wrong' }), redirectToAuthorization: () => { throw new Error('no browser') } } }))
  t.match(await gone.call('initialize'), { error: { message: /authorization has failed/ } })
  t.notMatch(JSON.stringify(lines), /s3cret|wrong|old/)
})
