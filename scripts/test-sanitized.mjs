// Runs tests on the addon that `npm run build:sanitized` made, with vitest's arguments. What reads files, checks programs
// and runs whole models takes a minute or two; `--kernels` adds the kernels' own tests, which take a quarter of an hour.
import { execFileSync, spawnSync } from 'node:child_process'

const runtime = (name) =>
  execFileSync('g++', [`-print-file-name=${name}`])
    .toString()
    .trim()
const folders = [
  'test/native',
  'test/checkpoint',
  'test/models/fixtures.test.ts',
  'test/models/goldens.test.ts',
]
const given = process.argv.slice(2)
const more = given.filter((argument) => argument !== '--kernels')
if (more.length < given.length) folders.push('test/kernels')
const { status } = spawnSync('npx', ['vitest', 'run', '--testTimeout=600000', ...folders, ...more], {
  stdio: 'inherit',
  env: {
    ...process.env,
    KVASIR_ADDON: 'build/sanitized/kvasir.node',
    // Node itself is not instrumented, so the runtimes come first; what Node leaks at exit is not ours to tell.
    LD_PRELOAD: `${runtime('libasan.so')}:${runtime('libubsan.so')}`,
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:allocator_may_return_null=1',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  },
})
process.exitCode = status ?? 1
