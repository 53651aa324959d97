// Whether the CUDA kernels are the ones that passed the whole set of their tests: the hash of everything that decides about
// those tests stands in test/cuda/proof.txt. Ends with status 0 where it is the same.
//
//   node scripts/cuda-proof.mjs            compares
//   node scripts/cuda-proof.mjs --record   writes the hash down; after `KVASIR_CI=full .ci/run` has passed
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

const proof = 'test/cuda/proof.txt'
const decides = [
  /^native\/.*\.cuh?$/,
  /^native\/(device\/cuda|types)\//,
  /^native\/kernels\/[^/]+\/[^.]+\.h$/,
  /^native\/backends\/cuda-(kernels|module)/,
  /^scripts\/(check-cuda|test-vectors|write-vectors|emulated|compile|planted-bugs|gpu-check|gpu-results)/,
  /^test\/cuda\/(conformance|emulator)\//,
]

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'])
  .toString()
  .split('\n')
  .filter((file) => decides.some((pattern) => pattern.test(file)))
  .sort()
const hash = createHash('sha256')
for (const file of files) hash.update(`${file}\0`).update(readFileSync(file)).update('\0')
const found = hash.digest('hex')

if (process.argv[2] === '--record') {
  writeFileSync(proof, `${found}\n`)
} else {
  const recorded = existsSync(proof) ? readFileSync(proof, 'utf8').trim() : 'none'
  const same = recorded === found
  console.log(`CUDA kernels and their tests, ${files.length} files: ${same ? 'as recorded' : 'changed'}`)
  process.exitCode = same ? 0 : 1
}
