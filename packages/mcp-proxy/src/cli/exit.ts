/** Exit codes of the binary. */
export const EXIT = {
  ok: 0,
  unexpected: 1,
  /** A flag or a variable is wrong. */
  usage: 2,
  /** The port is in use, or may not be used. */
  listen: 3,
  /** The command is unknown, dies at start or does not speak MCP. */
  command: 4,
} as const
