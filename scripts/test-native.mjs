// Builds the native tests that need no Node (platform, checkpoint reader, weight store) under ASan and UBSan, and runs
// them. Closes with `N passed, N failed, N skipped`.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { base } = require('../native/sources.json')
const sources = base.filter((file) => /^native\/(checkpoint|platform)\//.test(file))
const tests = spawnSync('git', ['ls-files', '-co', '--exclude-standard', 'test/native/*.cpp'])
  .stdout.toString()
  .trim()
  .split('\n')
const binary = 'build/native-tests'

mkdirSync('build', { recursive: true })
const flags = [
  '-std=c++20',
  '-g',
  '-O1',
  '-fsanitize=address,undefined',
  '-fno-sanitize-recover=all',
  '-Inative',
  '-I.',
]
const built = spawnSync('g++', [...flags, ...sources, ...tests, '-o', binary, '-lpthread', '-ldl'], {
  stdio: 'inherit',
})
if (built.status !== 0) process.exit(1)

const run = spawnSync(binary, { maxBuffer: 2 ** 26 })
const lines = run.stdout.toString().split('\n')
const counted = (prefix) => lines.filter((line) => line.startsWith(prefix)).length
process.stdout.write(run.stdout)
process.stderr.write(run.stderr)
const failed = counted('FAILED ') + (run.status !== 0 && counted('FAILED ') === 0 ? 1 : 0)
console.log(`${counted('ok ')} passed, ${failed} failed, ${counted('skipped ')} skipped`)
process.exitCode = failed === 0 ? 0 : 1
