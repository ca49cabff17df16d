import type { EnvironmentPolicy } from './options.js'

/** What a program needs to find itself, its user and its language; nothing that tends to hold a secret. */
export const SAFE_VARIABLES: readonly string[] = process.platform === 'win32'
  ? ['APPDATA', 'COMSPEC', 'HOMEDRIVE', 'HOMEPATH', 'LOCALAPPDATA', 'PATH', 'PATHEXT', 'PROCESSOR_ARCHITECTURE', 'PROGRAMDATA', 'PROGRAMFILES', 'SYSTEMDRIVE', 'SYSTEMROOT', 'TEMP', 'TMP', 'USERNAME', 'USERPROFILE', 'WINDIR']
  : ['HOME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'LOGNAME', 'PATH', 'SHELL', 'TERM', 'TMPDIR', 'TZ', 'USER', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR']

/** The proxy's own settings, keys among them, stay out of every child. */
const OWN_PREFIX = 'MCP_PROXY_'

/** The environment of a child: what the policy lets through of `inherited`, then `extra` over it. */
export function childEnvironment (policy: EnvironmentPolicy, extra: Readonly<Record<string, string>>, inherited: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const allowed = policy === 'all' ? undefined : new Set((policy === 'safe' ? SAFE_VARIABLES : policy).map(fold))
  const environment: Record<string, string> = {}
  for (const [name, value] of Object.entries(inherited)) {
    if (value === undefined || fold(name).startsWith(OWN_PREFIX)) continue
    // exported shell functions travel as variables and are code
    if (value.startsWith('()')) continue
    if (allowed?.has(fold(name)) ?? true) environment[name] = value
  }
  return { ...environment, ...extra }
}

/** Windows does not tell `Path` from `PATH`. */
function fold (name: string): string {
  return process.platform === 'win32' ? name.toUpperCase() : name
}
