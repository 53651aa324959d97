// Runs the tests of the native core on the addon that `npm run build:sanitized` made.
import { execFileSync, spawnSync } from 'node:child_process'

const runtime = (name) =>
  execFileSync('g++', [`-print-file-name=${name}`])
    .toString()
    .trim()
const { status } = spawnSync(
  'npx',
  [
    'vitest',
    'run',
    '--testTimeout=600000',
    'test/kernels',
    'test/checkpoint',
    'test/native',
    ...process.argv.slice(2),
  ],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      KVASIR_ADDON: 'build/sanitized/kvasir.node',
      // Node itself is not instrumented, so the runtimes come first; what Node leaks at exit is not ours to tell.
      LD_PRELOAD: `${runtime('libasan.so')}:${runtime('libubsan.so')}`,
      ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:allocator_may_return_null=1',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
  },
)
process.exitCode = status ?? 1
