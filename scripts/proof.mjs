// Whether the kernels of a device, or the readers of files, are the ones that passed the whole set of their tests: hashes of
// everything that decides about those tests stand in test/proofs.json. Ends with status 0 where it is the same.
//
//   node scripts/proof.mjs cuda|neon|fuzz            compares
//   node scripts/proof.mjs cuda|neon|fuzz --record   writes the hash down; after `KVASIR_CI=full .ci/run` has passed
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

const proofs = 'test/proofs.json'
const contracts = /^native\/kernels\/[^/]+\/[^.]+\.h$/
const decides = {
  cuda: [
    contracts,
    /^native\/.*\.cuh?$/,
    /^native\/(device\/cuda|types)\//,
    /^native\/backends\/cuda-(kernels|module)/,
    /^scripts\/(check-cuda|test-emulator|test-vectors|write-vectors|emulated|compile|planted-bugs|gpu-check|gpu-results)/,
    /^test\/cuda\/(conformance|emulator)\//,
    /^test\/kernels\//,
  ],
  neon: [
    contracts,
    /^native\/.*\.cpu\.(h|cpp)$/,
    /^native\/(device\/cpu|types|platform)\//,
    /^native\/(sources\.json|backends\/(cpu|node-parameters)[^/]*)$/,
    /^(CMakeLists\.txt|scripts\/test-neon\.mjs)$/,
    /^test\/kernels\//,
  ],
  fuzz: [/^native\/(checkpoint|platform|types)\//, /^test\/fuzz\//, /^scripts\/(fuzz|compile)/],
}

const [subject, action] = process.argv.slice(2)
if (!Object.hasOwn(decides, subject)) {
  console.error(`proof: the subject must be one of ${Object.keys(decides).join(', ')}, got ${subject}`)
  process.exit(2)
}
const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'])
  .toString()
  .split('\n')
  .filter((file) => decides[subject].some((pattern) => pattern.test(file)) && existsSync(file))
  .sort()
/** Of the list of sources, what says how kernels are compiled; other sources may come and go. */
function read(file) {
  const content = readFileSync(file)
  if (file !== 'native/sources.json') return content
  const { kernels, isas, flags } = JSON.parse(content)
  return JSON.stringify({ kernels, isas, flags })
}
const hash = createHash('sha256')
for (const file of files) hash.update(`${file}\0`).update(read(file)).update('\0')
const found = hash.digest('hex')
const recorded = existsSync(proofs) ? JSON.parse(readFileSync(proofs, 'utf8')) : {}

if (action === '--record') {
  writeFileSync(proofs, `${JSON.stringify({ ...recorded, [subject]: found }, null, 2)}\n`)
} else {
  const same = recorded[subject] === found
  console.log(
    `what is tested for ${subject}, and the tests, ${files.length} files: ${same ? 'as recorded' : 'changed'}`,
  )
  process.exitCode = same ? 0 : 1
}
