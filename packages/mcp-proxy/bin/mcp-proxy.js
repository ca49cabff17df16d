#!/usr/bin/env node
import { existsSync } from 'node:fs'

const has = path => existsSync(new URL(path, import.meta.url))

// Only a checkout has `.tsbuildinfo`: there `tsc -b` may have built something since the bundle was made, which is not used then.
const bundled = has('../bundle/cli/main.js') && (!has('../.tsbuildinfo') || (await import('../builds.mjs')).bundleIsCurrent())
await import(bundled ? '../bundle/cli/main.js' : '../dist/cli/main.js')
