// Builds the tests of the CUDA emulator three times (plain, under ASan and UBSan, under TSan) and runs them; then runs
// kernels with planted bugs, each of which wrong numbers, the emulator or a sanitizer must find. Closes with
// `N passed, N failed, N skipped`.
import { execFile, spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildEmulatorProgram } from './emulated.mjs'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
process.chdir(root)
const tests = spawnSync('git', ['ls-files', '-co', '--exclude-standard', 'test/cuda/emulator/*.cpp'])
  .stdout.toString()
  .trim()
  .split('\n')

const variants = ['plain', 'address', 'thread']
const binary = (variant) => join('build', 'emulator-tests', variant, 'tests')

async function build() {
  let ok = true
  for (const variant of variants) ok = ok && (await buildEmulatorProgram(variant, tests, binary(variant)))
  return ok
}

// How a child that runs one kernel ends: see run_bug in test/cuda/emulator/tests.h; sanitizers end it themselves.
const isRight = ({ status, output }) => status === 0 && !output.includes('WARNING: ThreadSanitizer')
const isWrong = ({ status }) => status === 3
const says =
  (text) =>
  ({ status, output }) =>
    status !== 0 && output.includes(text)
const isRace = says('WARNING: ThreadSanitizer: data race')
const lazy = { KVASIR_EMULATED_COPIES: 'lazy' }
const eager = { KVASIR_EMULATED_COPIES: 'eager' }
const seeds = [0, 1, 2].map((seed) => ({ KVASIR_EMULATED_SEED: String(seed) }))

// [kernel, variant, environments, whether the end is as it must be]: in each environment.
const planted = [
  ...['sums', 'ring', 'matrices', 'bulk', 'products', 'overlapped', 'blocks'].flatMap((kernel) => [
    [kernel, 'address', [lazy, eager], isRight],
    [kernel, 'thread', [lazy, eager], isRight],
  ]),
  ['sums-read-too-early', 'plain', seeds, isWrong],
  ['sums-read-too-early', 'thread', [lazy], isRace],
  ['sums-written-too-early', 'thread', [lazy], isRace],
  ['ring-no-wait', 'plain', [lazy], isWrong],
  ['ring-waits-for-one-less', 'plain', [lazy], isWrong],
  ['ring-no-barrier', 'plain', seeds.map((seed) => ({ ...eager, ...seed })), isWrong],
  ['ring-no-barrier', 'thread', [lazy, eager], isRace],
  ['matrices-written-too-early', 'thread', [lazy], isRace],
  ['bulk-no-wait-for-free', 'plain', [lazy], says('more arrivals than the barrier counts')],
  ['bulk-no-wait-for-free', 'plain', [eager], says('deadlock in block (0,0,0)')],
  ['bulk-no-wait-for-full', 'thread', [lazy, eager], isRace],
  ['bulk-released-too-early', 'thread', [lazy, eager], isRace],
  ['products-written-too-early', 'plain', [lazy], isWrong],
  ['products-written-too-early', 'thread', [lazy, eager], isRace],
  ['products-read-too-early', 'plain', [lazy, eager], isWrong],
  ['products-scaled-too-early', 'plain', [lazy, eager], isWrong],
  ['write-past-the-end', 'address', [lazy], says('heap-buffer-overflow')],
  ['write-before-the-start', 'address', [lazy], says('heap-buffer-overflow')],
  ['read-past-the-end', 'address', [lazy], says('heap-buffer-overflow')],
  ['shared-past-the-end', 'address', [lazy], says('heap-buffer-overflow')],
  ['static-shared-past-the-end', 'address', [lazy], says('out of bounds for type')],
  ['copy-past-the-end', 'address', [lazy, eager], says('heap-buffer-overflow')],
  ['overlapped-reads-too-early', 'plain', seeds, isWrong],
  ['overlapped-reads-too-early', 'thread', seeds, isRace],
  ['blocks-overlap', 'thread', seeds, isRace],
]

let passed = 0
let failed = 0

function runTests(variant) {
  const { stdout, stderr, status } = spawnSync(binary(variant), { maxBuffer: 2 ** 26 })
  const lines = stdout.toString().split('\n')
  for (const line of lines.filter((line) => line !== '' && !/^\d+ passed/.test(line))) {
    console.log(line.replace(/^(ok|FAILED) /, `$1 ${variant}: `))
  }
  process.stderr.write(stderr)
  const count = (prefix) => lines.filter((line) => line.startsWith(prefix)).length
  passed += count('ok ')
  failed += count('FAILED ') + (status !== 0 && count('FAILED ') === 0 ? 1 : 0)
}

function run(file, args, env) {
  return new Promise((done) => {
    execFile(file, args, { env: { ...process.env, ...env }, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      done({ status: error ? (error.code ?? error.signal) : 0, output: `${stdout}${stderr}` })
    })
  })
}

async function runPlanted([kernel, variant, environments, isExpected]) {
  const ends = []
  for (const environment of environments) ends.push(await run(binary(variant), ['bug', kernel], environment))
  const surprises = ends.filter((end) => !isExpected(end))
  console.log(`${surprises.length === 0 ? 'ok' : 'FAILED'} ${variant}: planted ${kernel}`)
  for (const { status, output } of surprises) console.log(`  ended with ${status}\n${output.slice(0, 4000)}`)
  if (surprises.length === 0) passed += 1
  else failed += 1
}

async function runAllPlanted() {
  const waiting = [...planted]
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await runPlanted(next)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
}

if (await build()) {
  variants.forEach(runTests)
  await runAllPlanted()
} else {
  failed = 1
}
console.log(`${passed} passed, ${failed} failed, 0 skipped`)
process.exitCode = failed === 0 ? 0 : 1
