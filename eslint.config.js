import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['**/dist/**', 'packages/mcp-proxy/bundle/**', '**/.test/**', '**/.tap/**'] }),
  // a promise that nobody waits for is marked as such
  { rules: { 'no-void': ['error', { allowAsStatement: true }] } },
]
