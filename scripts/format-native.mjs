// Formats the C++ and CUDA sources, or with --check tells which are not formatted.
import { execFileSync, spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'

const clangFormat = createRequire(import.meta.url).resolve('clang-format')
const files = execFileSync('git', [
  'ls-files',
  '-co',
  '--exclude-standard',
  ...['native', 'test', 'benchmarks'].flatMap((folder) =>
    ['h', 'cpp', 'cuh', 'cu'].map((extension) => `${folder}/*.${extension}`),
  ),
])
  .toString()
  .split('\n')
  .filter((file) => file !== '')
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i']
const { status } = spawnSync(process.execPath, [clangFormat, ...mode, ...files], { stdio: 'inherit' })
process.exitCode = status ?? 1
