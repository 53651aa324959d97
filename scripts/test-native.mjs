// Builds the native tests that need no Node (platform, checkpoint reader, weight store) under ASan and UBSan, and runs
// them. Closes with `N passed, N failed, N skipped`.
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { compileAll, link } from './compile.mjs'

const require = createRequire(import.meta.url)
const { base } = require('../native/sources.json')
const sources = base.filter((file) => /^native\/(checkpoint|platform)\//.test(file))
const tests = spawnSync('git', ['ls-files', '-co', '--exclude-standard', 'test/native/*.cpp'])
  .stdout.toString()
  .trim()
  .split('\n')
const folder = join('build', 'native-tests')
const binary = join(folder, 'tests')
const sanitize = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
const flags = ['-std=c++20', '-g1', '-O1', ...sanitize, '-Inative', '-I.']

mkdirSync(folder, { recursive: true })
const jobs = [...sources, ...tests].map((source) => ({
  source,
  object: join(folder, `${source.replaceAll('/', '_')}.o`),
  flags,
}))
const objects = jobs.map(({ object }) => object)
if (!(await compileAll(jobs)) || !(await link(binary, objects, sanitize))) process.exit(1)

/** Runs a part of the tests. Resolves to how it ended and what it printed. */
function run(part, parts) {
  const child = spawn(binary, [part, parts], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  return new Promise((done) => {
    child.on('close', (status) => done({ status, lines: output.split('\n') }))
  })
}

const counts = { passed: 0, failed: 0, skipped: 0 }
const parts = availableParallelism()
const ends = await Promise.all(Array.from({ length: parts }, (_, part) => run(part, parts)))
for (const { status, lines } of ends) {
  console.log(lines.filter((line) => !/^\d+ passed/.test(line)).join('\n'))
  const counted = (prefix) => lines.filter((line) => line.startsWith(prefix)).length
  counts.passed += counted('ok ')
  counts.failed += counted('FAILED ') || (status === 0 ? 0 : 1)
  counts.skipped += counted('skipped ')
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1
