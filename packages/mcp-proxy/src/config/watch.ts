import { unwatchFile, watchFile } from 'node:fs'

/** How often the file is looked at, in milliseconds. */
const INTERVAL = 500

/**
 * Calls `changed` when a file may have changed; returns what ends that. The file is looked at by its name: editors, and
 * whoever mounts configurations, put another file in its place, which no event of the old one tells.
 */
export function watchConfig (file: string, changed: () => void): () => void {
  watchFile(file, { interval: INTERVAL, persistent: false }, changed)
  return () => unwatchFile(file, changed)
}
