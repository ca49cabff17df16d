#!/usr/bin/env node
import { statSync } from 'node:fs'

const changed = path => statSync(new URL(path, import.meta.url), { throwIfNoEntry: false })?.mtimeMs ?? 0

// `tsc -b` touches its own file when anything here or below has changed: a bundle that is older is not used.
// Published packages have no such file.
const bundle = changed('../bundle/cli/main.js')
await import(bundle > changed('../.tsbuildinfo') ? '../bundle/cli/main.js' : '../dist/cli/main.js')
