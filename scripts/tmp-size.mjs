// Writes the test vectors that build/.../conformance runs on a GPU, where there may be no Node:
//
//   node scripts/write-vectors.mjs FILE
//
// Run `npm run build:ts` first. The cases are TypeScript, test/cuda/conformance/vectors.ts.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runnerImport } from 'vite'

const [file] = process.argv.slice(2)
if (!file) {
  console.error('usage: node scripts/write-vectors.mjs FILE')
  process.exit(2)
}
const out = resolve(file)
const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
process.chdir(root)
// The tests' modules ask which device they are for; nothing of it is opened here.
process.env.KVASIR_TEST_DEVICE = 'cuda-emulated'
const { module } = await runnerImport(join(root, 'test/cuda/conformance/vectors.ts'), {
  configFile: false,
  logLevel: 'error',
  oxc: { target: 'es2022' },
})
const cases = module.vectorCases()
for (const c of cases) console.log((module.encode([c]).length/1e3).toFixed(0).padStart(7), c.tables.reduce((s,t)=>s+t.length*4,0)/1e3|0, c.sessions.reduce((s,t)=>s+t.steps.length,0), c.name); const bytes = module.encode(cases)
mkdirSync(dirname(out), { recursive: true })
writeFileSync(out, bytes)
console.log(`${cases.length} cases, ${(bytes.length / 1e6).toFixed(1)} MB: ${out}`)
process.exit(0)
