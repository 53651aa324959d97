// Builds the emulated GPU's library, build/emulated/kvasir-cuda-emulated.so: the CUDA sources compiled by g++ for the
// emulator in native/device/cuda/emulator. Compiles what has changed, a file a processor.
//
//   node scripts/build-emulated.mjs [--sanitize=address,undefined | --sanitize=thread] [--out=FOLDER]
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const { cuda, emulator, flags } = createRequire(import.meta.url)('../native/sources.json')
const { values: options } = parseArgs({
  options: { sanitize: { type: 'string' }, out: { type: 'string', default: join('build', 'emulated') } },
})
const out = resolve(root, options.out)
mkdirSync(out, { recursive: true })
const sanitize = options.sanitize
  ? ['-O1', '-g', '-fno-omit-frame-pointer', `-fsanitize=${options.sanitize}`, '-fno-sanitize-recover=all']
  : []
const compiler = process.env.CXX ?? 'g++'

/** An object is fresh when nothing that its last compilation read is newer. */
function isFresh(object, dependencies) {
  if (!existsSync(object) || !existsSync(dependencies)) return false
  const built = statSync(object).mtimeMs
  const read = readFileSync(dependencies, 'utf8').replaceAll('\\\n', ' ').split(/\s+/).slice(1)
  return read
    .filter((file) => file !== '')
    .every((file) => existsSync(file) && statSync(file).mtimeMs <= built)
}

function run(args) {
  return new Promise((done) => {
    spawn(compiler, args, { cwd: root, stdio: 'inherit' }).on('close', (status) => done(status === 0))
  })
}

async function compile(source) {
  const object = join(out, `${source.replaceAll('/', '_')}.o`)
  const dependencies = `${object}.d`
  if (isFresh(object, dependencies)) return { object, ok: true }
  const args = [...flags.emulated.split(' '), ...sanitize, '-Inative', '-MMD', '-MF', dependencies]
  const ok = await run([...args, '-x', 'c++', '-c', source, '-o', object])
  if (!ok) rmSync(object, { force: true })
  return { object, ok }
}

const waiting = [...cuda, ...emulator]
const results = []
async function work() {
  for (let source = waiting.shift(); source !== undefined; source = waiting.shift())
    results.push(await compile(source))
}
await Promise.all(Array.from({ length: availableParallelism() }, work))
const linked =
  results.every(({ ok }) => ok) &&
  (await run([
    '-shared',
    ...sanitize,
    '-o',
    join(out, 'kvasir-cuda-emulated.so'),
    ...results.map(({ object }) => object).sort(),
    '-lpthread',
  ]))
process.exitCode = linked ? 0 : 1
