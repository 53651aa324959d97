// Writes what scripts/gpu-check.sh needs where there is no Node: vectors.bin, the cases that the conformance binary
// runs on a GPU, and programs.bin, the models that the benchmark times.
//
//   node scripts/write-vectors.mjs FOLDER
//
// Run `npm run build:ts` first. The cases are TypeScript, test/cuda/conformance/vectors.ts.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runnerImport } from 'vite'

const [folder] = process.argv.slice(2)
if (!folder) {
  console.error('usage: node scripts/write-vectors.mjs FOLDER')
  process.exit(2)
}
const out = resolve(folder)
const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
process.chdir(root)
// The tests' modules ask which device they are for; nothing of it is opened here.
process.env.KVASIR_TEST_DEVICE = 'cuda-emulated'
const { module } = await runnerImport(join(root, 'test/cuda/conformance/vectors.ts'), {
  configFile: false,
  logLevel: 'error',
  oxc: { target: 'es2022' },
})
mkdirSync(out, { recursive: true })
for (const [name, cases] of [
  ['vectors.bin', module.vectorCases()],
  ['programs.bin', module.benchmarkPrograms()],
]) {
  const bytes = module.encode(cases)
  writeFileSync(join(out, name), bytes)
  console.log(`${join(out, name)}: ${cases.length} cases, ${(bytes.length / 1e6).toFixed(1)} MB`)
}
process.exit(0)
