// Fuzzes the readers of safetensors and GGUF with libFuzzer under ASan and UBSan, a million inputs each, both at once.
// Closes with `N passed, N failed, N skipped`. A failure prints its input, which belongs into the corpus with its repair.
//
//   npm run fuzz -- --runs 10000000     more inputs
//   npm run fuzz -- --keep              adds what reached new code to the corpus, as little as possible
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values: options } = parseArgs({
  options: { runs: { type: 'string', default: '1000000' }, keep: { type: 'boolean', default: false } },
})
const formats = ['safetensors', 'gguf']
const folder = join('build', 'fuzz')
const corpus = (format) => join('test', 'fuzz', 'corpus', format)

process.env.CXX = process.env.FUZZ_CXX ?? 'clang++'
if (!installed(process.env.CXX)) {
  console.log(`skipped: ${process.env.CXX}, which has libFuzzer, is not installed`)
  console.log(`0 passed, 0 failed, ${formats.length} skipped`)
  process.exit(0)
}

const { compileAll, link } = await import('./compile.mjs')
const { base } = createRequire(import.meta.url)('../native/sources.json')
// Files are memory here: memory-file.cpp.
const sources = base.filter(
  (file) => /^native\/(checkpoint|platform)\//.test(file) && file !== 'native/platform/linux-file.cpp',
)
const sanitize = '-fsanitize=address,undefined'
const flags = [
  '-std=c++20',
  '-g1',
  '-O2',
  `${sanitize},fuzzer-no-link`,
  '-fno-sanitize-recover=all',
  '-Inative',
  '-Itest/fuzz',
]
const objectOf = (source) => join(folder, `${source.replaceAll('/', '_')}.o`)

mkdirSync(folder, { recursive: true })
const shared = [...sources, 'test/fuzz/memory-file.cpp']
const targets = formats.map((format) => `test/fuzz/${format}-fuzz.cpp`)
const jobs = [...shared, ...targets].map((source) => ({ source, object: objectOf(source), flags }))
if (!(await compileAll(jobs))) process.exit(1)
for (const [i, format] of formats.entries()) {
  const objects = [...shared, targets[i]].map(objectOf)
  if (!(await link(join(folder, format), objects, [`${sanitize},fuzzer`]))) process.exit(1)
}

const ends = await Promise.all(formats.map(fuzz))
for (const [i, { passed, output }] of ends.entries()) {
  console.log(
    passed ? `ok ${formats[i]}: ${summary(output)}` : `FAILED ${formats[i]}\n${output.slice(-4000)}`,
  )
}
if (options.keep) formats.forEach(keep)
const passed = ends.filter((end) => end.passed).length
console.log(`${passed} passed, ${formats.length - passed} failed, 0 skipped`)
process.exitCode = passed === formats.length ? 0 : 1

function installed(command) {
  return spawnSync(command, ['--version']).status === 0
}

/** Runs a target from the corpus on. What it finds stays in the build folder. */
async function fuzz(format) {
  const found = join(folder, `${format}-found`)
  rmSync(found, { recursive: true, force: true })
  mkdirSync(found, { recursive: true })
  const args = [
    `-runs=${options.runs}`,
    '-max_len=4096',
    '-len_control=50',
    '-timeout=1',
    '-rss_limit_mb=2048',
    '-malloc_limit_mb=65', // 64 MiB beside the file
    '-print_final_stats=1',
    `-dict=test/fuzz/${format}.dict`,
    `-artifact_prefix=${join(folder, `${format}-`)}`,
    found,
    corpus(format),
  ]
  // Freed memory is used again soon: new pages would take most of the time.
  const env = { ...process.env, ASAN_OPTIONS: 'quarantine_size_mb=2:malloc_context_size=3' }
  const child = spawn(join(folder, format), args, { stdio: ['ignore', 'ignore', 'pipe'], env })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    output =
      output.length < 20_000 ? output + text : output.slice(0, 10_000) + (output + text).slice(-100_000)
  })
  const status = await new Promise((done) => child.on('close', done))
  return { passed: status === 0, output: status === 0 ? output : output + inputOf(output) }
}

/** The input that failed, to be pasted. */
function inputOf(output) {
  const path = output.match(/Test unit written to (\S+)/)?.[1]
  return path && existsSync(path) ? `\ninput in base64: ${readFileSync(path).toString('base64')}\n` : ''
}

function summary(output) {
  const stat = (name) => output.match(new RegExp(`stat::${name}:\\s+(\\d+)`))?.[1]
  return `${stat('number_of_executed_units')} inputs, ${stat('average_exec_per_sec')} a second, seed ${output.match(/Seed: (\d+)/)?.[1] ?? 'unknown'}`
}

function keep(format) {
  const before = readdirSync(corpus(format)).length
  spawnSync(join(folder, format), [
    '-merge=1',
    '-max_len=4096',
    corpus(format),
    join(folder, `${format}-found`),
  ])
  console.log(`${format}: ${readdirSync(corpus(format)).length - before} inputs added to the corpus`)
}
