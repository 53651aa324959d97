// Compiles the CUDA kernels for every architecture that CMakeLists.txt names, as far as machine code, and prints what
// each kernel takes. Warnings fail, and so do spills in the kernels that most of a step's time goes to. Compiles what has
// changed since the last run, a file a processor. Closes with `N passed, N failed, N skipped`: files times architectures.
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

process.chdir(resolve(fileURLToPath(import.meta.url), '../..'))
const { cuda } = createRequire(import.meta.url)('../native/sources.json')
const out = join('build', 'cuda-check')
const flags = ['-std=c++20', '-O3', '-Inative', '-fatbin', '--compress-mode=none', '-Xptxas=-v']

/** Kernels that must not spill: most of a step's time is theirs. */
const isHot = (kernel) => /^(linear|attention|layer_norm|rms_norm|sample)_/.test(kernel)
/** Those of them that may, by their names as the table has them, with the reason. */
const maySpill = Object.fromEntries(
  ['f16', 'bf16', 'float'].map((type) => [
    `sample_adjusted_kernel<${type}>`,
    'a few words around the calls of what only typical sampling and cuts by it need; once a row, by the last block',
  ]),
)

/** The architectures that are built, in groups that nvcc compiles together. */
function architectureGroups() {
  const [, list] = readFileSync('CMakeLists.txt', 'utf8').match(/set\(KVASIR_CUDA_ARCHITECTURES ([^\n]*)/)
  const real = list.split(' ').flatMap((name) => name.match(/^(.*)-real$/)?.[1] ?? [])
  // What comes before ptxas takes more than half of the time, and has the same result for these.
  const generations = [
    ['80', '86', '89'],
    ['100', '120'],
  ]
  const others = real.filter((name) => !generations.flat().includes(name)).map((name) => [name])
  const known = generations.map((names) => names.filter((name) => real.includes(name)))
  return [...known, ...others].filter((names) => names.length > 0)
}

/** Changes when the command, the compiler or one of the files does. */
function keyOf(args, version, files) {
  const hash = createHash('sha256').update(JSON.stringify([args, version]))
  for (const file of files) hash.update(file).update(existsSync(file) ? readFileSync(file) : '')
  return hash.digest('hex')
}

/** What nvcc says about a file, from the last run's record where nothing has changed. */
async function compile({ source, architectures }, version) {
  const name = join(out, `${source.replaceAll('/', '_')}.${architectures.join('-')}`)
  const code = architectures.map((architecture) => `sm_${architecture}`).join(',')
  const args = [...flags, `-gencode=arch=compute_${architectures[0]},code=[${code}]`, source]
  const record = `${name}.json`
  if (existsSync(record)) {
    const { key, files, output } = JSON.parse(readFileSync(record, 'utf8'))
    if (keyOf(args, version, files) === key) return { output, isCompiled: true, isCached: true }
  }
  const { output, ok } = await run('nvcc', [...args, '-MMD', '-MF', `${name}.d`, '-o', `${name}.fatbin`])
  if (!ok) return { output, isCompiled: false, isCached: false }
  const files = readFileSync(`${name}.d`, 'utf8').replaceAll('\\\n', ' ').trim().split(/\s+/).slice(1)
  writeFileSync(record, JSON.stringify({ key: keyOf(args, version, files), files, output }))
  return { output, isCompiled: true, isCached: false }
}

function run(command, args) {
  return new Promise((done) => {
    execFile(command, args, { maxBuffer: 2 ** 28 }, (error, stdout, stderr) => {
      done({ output: stdout + stderr, ok: error === null })
    })
  })
}

/** `linear_prefill_kernel<bf16, 128, 64>` for what the linker calls it. */
function shortNames(symbols) {
  const { stdout } = spawnSync('c++filt', { input: symbols.join('\n'), maxBuffer: 2 ** 26 })
  const short = (name) =>
    name
      .replaceAll(/\(anonymous namespace\)::|\w+::/g, '')
      .replaceAll(/\(\w+\)(?=-?\d)/g, '') // the type of a number
      .replace(/\(.*/, '')
      .replace(/^void /, '')
      .replaceAll('> >', '>>')
  const names = stdout.toString().split('\n')
  return new Map(symbols.map((symbol, i) => [symbol, short(names[i])]))
}

/** The kernels in what ptxas says; functions that were not inlined count to the kernel before them. */
function readKernels(output) {
  const kernels = []
  for (const line of output.split('\n')) {
    const entry = line.match(/Compiling entry function '(\S+)' for 'sm_(\w+)'/)
    if (entry) {
      const [, symbol, architecture] = entry
      kernels.push({ symbol, architecture, registers: 0, shared: 0, stack: 0, spills: 0 })
    }
    const kernel = kernels.at(-1)
    const bytes = line.match(/(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/)
    if (bytes) {
      kernel.stack += Number(bytes[1])
      kernel.spills += Number(bytes[2]) + Number(bytes[3])
    }
    const used = line.match(/Used (\d+) registers/)
    if (used) {
      kernel.registers = Number(used[1])
      kernel.shared = Number(line.match(/(\d+) bytes smem/)?.[1] ?? 0)
    }
  }
  return kernels
}

/** Warnings, and what ptxas calls information: (C7508) setmaxnreg was ignored, (C7510) wgmma was serialised. */
const complaints = (output) =>
  output.split('\n').filter((line) => /\bwarning\b|ptxas info\s*:\s*\(C\d+\)/i.test(line))

/** A line a kernel; bytes are the most of all architectures. */
function printTable(kernels, architectures) {
  const names = [...new Set(kernels.map(({ name }) => name))]
  const width = Math.max(...names.map((name) => name.length))
  const print = (name, cells) =>
    console.log(name.padEnd(width), ...cells.map((cell) => String(cell).padStart(7)))
  console.log('Registers a thread, on each architecture; bytes of static shared memory, stack and spills.')
  print('', [...architectures.map((architecture) => `sm_${architecture}`), 'shared', 'stack', 'spills'])
  for (const name of names) {
    const builds = kernels.filter((kernel) => kernel.name === name)
    const registers = architectures.map(
      (architecture) => builds.find((build) => build.architecture === architecture)?.registers ?? '-',
    )
    const most = (what) => Math.max(...builds.map((build) => build[what]))
    print(name, [...registers, most('shared'), most('stack'), most('spills')])
  }
}

/** Prints why the file does not pass on the architecture. Returns whether it passes. */
function passes({ source, output, isCompiled }, architecture, kernels) {
  const spilled = kernels.filter(({ name, spills }) => spills > 0 && isHot(name) && !(name in maySpill))
  const problems = isCompiled
    ? [...complaints(output), ...spilled.map(({ name, spills }) => `${name} spills ${spills} bytes`)]
    : [output]
  if (problems.length > 0) {
    console.log(`FAILED ${basename(source)} for sm_${architecture}`)
    for (const problem of problems) console.log(`  ${problem}`)
  }
  return problems.length === 0
}

async function check(version) {
  mkdirSync(out, { recursive: true })
  const groups = architectureGroups()
  const files = cuda.filter((file) => file.endsWith('.cuda.cu'))
  const results = files.flatMap((source) => groups.map((architectures) => ({ source, architectures })))
  const waiting = [...results]
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift())
      Object.assign(next, await compile(next, version))
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))

  const kernels = results.flatMap((result) => readKernels(result.output).map((k) => ({ ...k, result })))
  const names = shortNames(kernels.map(({ symbol }) => symbol))
  for (const kernel of kernels) kernel.name = names.get(kernel.symbol)
  printTable(kernels, groups.flat())
  const checks = results.flatMap((result) =>
    result.architectures.map((architecture) => {
      const built = kernels.filter((k) => k.result === result && k.architecture === architecture)
      return passes(result, architecture, built)
    }),
  )
  const fresh = results.filter(({ isCached }) => !isCached).length
  console.log(`${fresh} of ${results.length} compilations were done anew`)
  const passed = checks.filter((isPassed) => isPassed).length
  console.log(`${passed} passed, ${checks.length - passed} failed, 0 skipped`)
  process.exitCode = passed === checks.length ? 0 : 1
}

const { stdout, status } = spawnSync('nvcc', ['--version'])
if (status === 0) {
  await check(stdout.toString())
} else {
  console.log('skipped: no nvcc')
  console.log('0 passed, 0 failed, 1 skipped')
}
