// Makes `bundle/` of `dist/`: what the binary loads, in a dozen files instead of 150. Loading those takes longer than
// anything else the proxy does before its first answer (docs/performance.md). An argument is a directory to make instead.
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { builds } from './builds.mjs'

const here = name => fileURLToPath(new URL(name, import.meta.url))
const { dependencies } = JSON.parse(await readFile(here('package.json'), 'utf8'))
const [,, directory = here('bundle')] = process.argv
// before the rest: what is built meanwhile may not be in it
const madeOf = builds()

await rm(directory, { recursive: true, force: true })
const { metafile } = await build({
  entryPoints: [here('dist/cli/main.js'), here('dist/workers/main.js')],
  outdir: directory,
  // beside the program of a worker, which the primary looks for beside itself
  chunkNames: 'workers/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // ours is taken in, what others have made stays theirs
  external: Object.keys(dependencies).filter(name => !name.startsWith('@mcp-proxy/')).flatMap(name => [name, `${name}/*`]),
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  logLevel: 'warning',
})

// what is of others and was taken in is a dependency that package.json does not name
const foreign = Object.keys(metafile.inputs).filter(file => file.includes('node_modules'))
if (foreign.length > 0) throw new Error(`packages/mcp-proxy/package.json has to name as a dependency: ${foreign.join(', ')}`)

await writeFile(join(directory, 'made-of.json'), madeOf)
