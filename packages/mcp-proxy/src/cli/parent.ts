/** How often the parent is looked at, in milliseconds: there is no event for its end. */
const INTERVAL = 1000

/** Calls `gone` once when the process that started this one has ended, or has closed our stdin. */
export function watchParent (gone: (reason: string) => void): void {
  const parent = process.ppid
  let told = false
  const tell = (reason: string): void => {
    if (told) return
    told = true
    clearInterval(timer)
    gone(reason)
  }
  // an orphan is given to another process: its parent's id changes
  const timer = setInterval(() => { if (process.ppid !== parent) tell('parent ended') }, INTERVAL)
  timer.unref()
  process.stdin.on('end', () => tell('stdin ended')).on('error', () => tell('stdin ended')).resume()
}
