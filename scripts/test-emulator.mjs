// Builds the tests of the CUDA emulator three times (plain, under ASan and UBSan, under TSan) and runs them; then runs
// kernels with planted bugs, each of which wrong numbers, the emulator or a sanitizer must find. Closes with
// `N passed, N failed, N skipped`.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileAll, link } from './compile.mjs'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
process.chdir(root)
const { emulator } = createRequire(import.meta.url)('../native/sources.json')
const tests = spawnSync('git', ['ls-files', '-co', '--exclude-standard', 'test/cuda/emulator/*.cpp'])
  .stdout.toString()
  .trim()
  .split('\n')

const common = [
  '-std=c++20',
  '-g1',
  '-O1',
  '-fno-strict-aliasing', // kernels look at shared memory through pointers of several types
  '-ffp-contract=off',
  ...(process.arch === 'x64' ? ['-march=x86-64-v3'] : []),
  '-Wall',
  '-Wextra',
  '-Wno-unknown-pragmas',
  '-Wno-psabi',
  '-DKVASIR_CUDA_EMULATED',
  '-Inative',
  '-I.',
]
const address = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
// ThreadSanitizer watches kernels; what the emulator itself does, it tells.
const variants = {
  plain: { emulator: [], tests: [], link: [] },
  address: { emulator: address, tests: address, link: address },
  thread: {
    emulator: ['-DKVASIR_EMULATOR_TSAN'],
    tests: ['-fsanitize=thread'],
    link: ['-fsanitize=thread'],
  },
}
const folder = (variant) => join('build', 'emulator-tests', variant)
const binary = (variant) => join(folder(variant), 'tests')

async function build() {
  const jobs = Object.entries(variants).flatMap(([variant, flags]) => {
    mkdirSync(folder(variant), { recursive: true })
    const job = (kind) => (source) => ({
      source,
      object: join(folder(variant), `${source.replaceAll('/', '_')}.o`),
      flags: [...common, ...flags[kind]],
      variant,
    })
    return [...tests.map(job('tests')), ...emulator.map(job('emulator'))]
  })
  let ok = await compileAll(jobs)
  for (const [variant, flags] of Object.entries(variants)) {
    const objects = jobs.filter((job) => job.variant === variant).map((job) => job.object)
    ok = ok && (await link(binary(variant), objects, flags.link))
  }
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

function runPlanted([kernel, variant, environments, isExpected]) {
  const ends = environments.map((environment) => {
    const { stdout, stderr, status } = spawnSync(binary(variant), ['bug', kernel], {
      env: { ...process.env, ...environment },
      maxBuffer: 2 ** 26,
    })
    return { status, output: `${stdout}${stderr}` }
  })
  const surprises = ends.filter((end) => !isExpected(end))
  console.log(`${surprises.length === 0 ? 'ok' : 'FAILED'} ${variant}: planted ${kernel}`)
  for (const { status, output } of surprises) console.log(`  ended with ${status}\n${output.slice(0, 4000)}`)
  if (surprises.length === 0) passed += 1
  else failed += 1
}

if (await build()) {
  for (const variant of Object.keys(variants)) runTests(variant)
  planted.forEach(runPlanted)
} else {
  failed = 1
}
console.log(`${passed} passed, ${failed} failed, 0 skipped`)
process.exitCode = failed === 0 ? 0 : 1
