import { readdirSync, readFileSync, statSync } from 'node:fs'

const PACKAGES = new URL('..', import.meta.url)
const NOTE = new URL('bundle/made-of.json', import.meta.url)

/** When `tsc -b` last changed each package of this checkout, as text: it touches a package's `.tsbuildinfo` then. */
export function builds () {
  return JSON.stringify(readdirSync(PACKAGES).sort().flatMap((name) => {
    const file = statSync(new URL(`${name}/.tsbuildinfo`, PACKAGES), { throwIfNoEntry: false })
    return file === undefined ? [] : [[name, file.mtimeMs]]
  }))
}

/** Whether the bundle was made of what is built now. A copy of a checkout whose times differ counts as changed. */
export function bundleIsCurrent () {
  try {
    return readFileSync(NOTE, 'utf8') === builds()
  } catch {
    return false
  }
}
