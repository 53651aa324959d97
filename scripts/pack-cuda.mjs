// Builds kvasir-cuda.so for every architecture and puts it into build/kvasir-cuda-linux-x64, the optional package that
// lib/native/addon.ts looks for: `npm pack ./build/kvasir-cuda-linux-x64`, or publish it together with kvasir.
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

process.chdir(resolve(fileURLToPath(import.meta.url), '../..'))
const main = JSON.parse(readFileSync('package.json', 'utf8'))
const name = 'kvasir-cuda-linux-x64'
const library = 'kvasir-cuda.so'
const tree = join('build', 'cuda')
const out = join('build', name)

if (main.peerDependencies[name] !== main.version)
  throw new Error(`package.json has version ${main.version} and ${name} ${main.peerDependencies[name]}`)

const run = (command, args) => execFileSync(command, args, { stdio: 'inherit' })
// -U: all architectures, whatever the tree was configured with before.
run('cmake', ['-S', '.', '-B', tree, '-U', 'KVASIR_*', '-DKVASIR_CUDA=ON'])
run('cmake', ['--build', tree, '--target', 'kvasir_cuda', '-j', String(availableParallelism())])

rmSync(out, { recursive: true, force: true })
mkdirSync(out)
copyFileSync(join(tree, library), join(out, library))
copyFileSync('LICENSE', join(out, 'LICENSE'))
run('strip', ['--strip-unneeded', join(out, library)])
const description = {
  name,
  version: main.version,
  description: 'CUDA kernels of kvasir for Linux on x86-64',
  license: main.license,
  os: ['linux'],
  cpu: ['x64'],
  libc: ['glibc'],
  files: [library],
}
writeFileSync(join(out, 'package.json'), `${JSON.stringify(description, null, 2)}\n`)
writeFileSync(
  join(out, 'README.md'),
  `# ${name}

The CUDA kernels of [kvasir](https://www.npmjs.com/package/kvasir) ${main.version} for Linux on x86-64. \`npm install ${name}@${main.version}\`
beside kvasir of the same version is all there is to do; kvasir finds it.

For NVIDIA GPUs of compute capability 8.0 and newer, with a driver for CUDA 13 (580 or newer); nothing else of CUDA
needs to be there. Contains NVIDIA's CUDA runtime library, under the terms of the CUDA Toolkit's licence agreement.
`,
)
console.log(`${out}: ${(statSync(join(out, library)).size / 1e6).toFixed(1)} MB`)
