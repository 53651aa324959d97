// Runs the vectors of test/cuda/conformance on the emulated GPU, without Node in between: on libraries built for
// sanitizers, with other orders of threads and copies, and with planted bugs, each of which must be found. Closes with
// `N passed, N failed, N skipped`.
//
//   node scripts/test-vectors.mjs [--only TEXT]      the steps whose names hold the text
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { buildEmulated, buildWithOverlay, emulatedLibrary } from './emulated.mjs'
import { plantedBugs } from './planted-bugs.mjs'

process.chdir(resolve(dirname(fileURLToPath(import.meta.url)), '..'))
const { values: options } = parseArgs({ options: { only: { type: 'string', default: '' } } })
const conformance = join('build', 'gpu-check', 'conformance')
const vectors = join('build', 'gpu-check', 'vectors', 'vectors.bin')

const runtime = (name) =>
  execFileSync('g++', [`-print-file-name=${name}`])
    .toString()
    .trim()
// The binary itself is not instrumented, so the runtimes come first.
const sanitizers = {
  plain: {},
  address: {
    LD_PRELOAD: `${runtime('libasan.so')}:${runtime('libubsan.so')}`,
    ASAN_OPTIONS: 'abort_on_error=1:allocator_may_return_null=1',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  },
  thread: { LD_PRELOAD: runtime('libtsan.so'), TSAN_OPTIONS: 'halt_on_error=1' },
}

const small = ['--small']
const named = (...texts) => texts.flatMap((text) => ['--filter', text])
// What architecture 90 does in other kernels or in another way than 80: wgmma, launches that overlap.
const hopper = named(
  'linear, bf16, 130 to 31',
  'linear, bf16, 520',
  'attention, bf16, 600',
  'model llama, bf16',
)
// Each kernel in one dtype and at few shapes is enough for ThreadSanitizer, under which they are slowest.
const everyKernel = [
  ...small,
  ...named('attention, bf16', 'linear, bf16, 130', 'linear, bf16, 4104', 'linear, bf16, norms', 'slices'),
  ...named('elementwise, bf16', 'gathered', 'norms, bf16', 'rotations, bf16', 'sample', 'controls'),
]
const runs = [
  { variant: 'address', device: 0, cases: [...small, ...named('bf16', 'f32')], settings: { SEED: 4 } },
  { variant: 'thread', device: 0, cases: everyKernel, settings: { SEED: 2 } },
  { variant: 'thread', device: 1, cases: hopper, settings: { COPIES: 'eager', SEED: 3 } },
  { variant: 'address', device: 1, cases: hopper, settings: { COPIES: 'eager', SEED: 5 } },
  { variant: 'plain', device: 0, cases: small, settings: { COPIES: 'eager', SEED: 6 } },
  { variant: 'plain', device: 1, cases: small, settings: { COPIES: 'eager', SEED: 7 } },
  // With one multiprocessor, the blocks that stay do everything, one piece of work after the other.
  { variant: 'plain', device: 0, cases: small, settings: { MULTIPROCESSORS: 1, SEED: 8 } },
  { variant: 'plain', device: 1, cases: small, settings: { MULTIPROCESSORS: 1, SEED: 9 } },
]

/** Runs the conformance binary. Resolves to how it ended and everything it wrote. */
function run(variant, library, device, cases, settings) {
  const env = { ...process.env, ...sanitizers[variant] }
  for (const [name, value] of Object.entries(settings)) env[`KVASIR_EMULATED_${name}`] = String(value)
  const child = spawn(conformance, [library, vectors, '--device', String(device), ...cases], { env })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  return new Promise((done) => {
    child.on('close', (status, signal) => done({ status: status ?? signal, output }))
  })
}

const describeEnd = ({ status, output }) => `ended with ${status}\n${output.slice(-6000)}`

/** Every case must pass. Returns how many did, and what went wrong, if anything. */
async function check({ variant, device, cases, settings }) {
  const end = await run(variant, emulatedLibrary(variant), device, cases, settings)
  const passed = Number(end.output.match(/^(\d+) passed, \d+ failed, \d+ skipped$/m)?.[1] ?? 0)
  return { passed, problem: end.status === 0 ? '' : describeEnd(end) }
}

/** Puts the changed file into an empty folder, from where it is compiled. Returns what went wrong, if anything. */
function change({ file, from, to }, folder) {
  const text = readFileSync(join('native', file), 'utf8')
  if (text.split(from).length !== 2) return `native/${file} does not have this once:\n${from}`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(dirname(join(folder, file)), { recursive: true })
  writeFileSync(join(folder, file), text.replace(from, to))
  return ''
}

/** The bug must be found, in each of its settings. */
async function plant(bug, folder) {
  const { sources, variant = 'plain', device = 0, filter, settings = [{}], found } = bug
  let problem = change(bug, folder)
  if (!problem && !(await buildWithOverlay(variant, sources, folder))) problem = 'does not compile'
  for (const each of problem ? [] : settings) {
    const end = await run(
      variant,
      join(folder, 'kvasir-cuda-emulated.so'),
      device,
      ['--filter', filter],
      each,
    )
    if (!found(end)) problem ||= `was not found with ${JSON.stringify(each)}: ${describeEnd(end)}`
  }
  rmSync(folder, { recursive: true, force: true })
  return { passed: problem ? 0 : 1, problem }
}

const steps = [
  ...runs.map((each) => {
    const { variant, device, cases, settings } = each
    const order = Object.entries(settings).flat().join(' ').toLowerCase()
    const which = cases.filter((word) => word !== '--filter').join('; ')
    return { name: `${variant}, device ${device}, ${order}: ${which}`, test: () => check(each) }
  }),
  ...plantedBugs.map((bug, i) => {
    const test = () => plant(bug, join('build', 'planted', String(i)))
    return { name: `planted in ${bug.file}: ${bug.bug}`, test }
  }),
]

const counts = { passed: 0, failed: 0 }

async function perform({ name, test }) {
  const start = performance.now()
  const { passed, problem } = await test()
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  counts.passed += passed
  counts.failed += problem ? 1 : 0
  console.log(problem ? `FAILED ${name}\n${problem}` : `ok ${name} (${passed}, ${seconds} s)`)
}

async function build() {
  const { status } = spawnSync('scripts/gpu-check.sh', ['--emulated', '--build'], { stdio: 'inherit' })
  return status === 0 && (await buildEmulated('address')) && (await buildEmulated('thread'))
}

if (await build()) {
  const waiting = steps.filter(({ name }) => name.includes(options.only))
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await perform(next)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
} else {
  counts.failed = 1
}
console.log(`${counts.passed} passed, ${counts.failed} failed, 0 skipped`)
process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1
