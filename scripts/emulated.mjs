// How the emulated GPU's library is built, for the scripts that build it; they run in the project's root.
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { compileAll, link } from './compile.mjs'

const { cuda, emulator, flags } = createRequire(import.meta.url)('../native/sources.json')
const instrumented = ['-g1', '-fno-omit-frame-pointer']
const address = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']

/**
 * Flags of code with kernels, beside them of the whole backend's, of the emulator, and of linking. ThreadSanitizer
 * watches kernels; what the emulator itself does, it tells.
 */
export const variants = {
  plain: { kernels: [], whole: [], emulator: [], link: [] },
  address: {
    kernels: ['-O0', ...instrumented, ...address],
    whole: ['-DKVASIR_WITHOUT_F16'],
    emulator: ['-O1', ...instrumented, ...address],
    link: address,
  },
  thread: {
    kernels: ['-O1', ...instrumented, '-fsanitize=thread'],
    whole: ['-DKVASIR_WITHOUT_F16'],
    emulator: ['-DKVASIR_EMULATOR_TSAN'],
    link: ['-fsanitize=thread'],
  },
}

const folderOf = (variant) => join('build', variant === 'plain' ? 'emulated' : `emulated-${variant}`)
const library = 'kvasir-cuda-emulated.so'

/** Where a variant's library is. */
export const emulatedLibrary = (variant) => join(folderOf(variant), library)

function jobsOf(sources, folder, more) {
  return sources.map((source) => ({
    source,
    object: join(folder, `${source.replaceAll('/', '_')}.o`),
    flags: [...flags.emulated.split(' '), ...more, '-x', 'c++'],
  }))
}

const linkJobs = (out, variant, jobs, more) =>
  link(
    out,
    jobs.map(({ object }) => object),
    [...more, ...variants[variant].link],
  )
const linkLibrary = (variant, folder, jobs) => linkJobs(join(folder, library), variant, jobs, ['-shared'])

const jobsOfEmulator = (variant) =>
  jobsOf(emulator, folderOf(variant), [...variants[variant].emulator, '-Inative'])
const jobsOfLibrary = (variant) => [
  ...jobsOf(cuda, folderOf(variant), [...variants[variant].kernels, ...variants[variant].whole, '-Inative']),
  ...jobsOfEmulator(variant),
]

/** Builds a variant's library where anything has changed. Returns whether that went well. */
export async function buildEmulated(variant) {
  const jobs = jobsOfLibrary(variant)
  mkdirSync(folderOf(variant), { recursive: true })
  return (await compileAll(jobs)) && linkLibrary(variant, folderOf(variant), jobs)
}

/** Builds `program` of a variant's emulator and of `sources`, which have kernels. Returns whether that went well. */
export async function buildEmulatorProgram(variant, sources, program) {
  mkdirSync(folderOf(variant), { recursive: true })
  mkdirSync(dirname(program), { recursive: true })
  const own = jobsOf(sources, dirname(program), [...variants[variant].kernels, '-Inative', '-I.'])
  const jobs = [...own, ...jobsOfEmulator(variant)]
  return (await compileAll(jobs)) && linkJobs(program, variant, jobs, [])
}

/**
 * Links a variant's library again, into `folder`, with `sources` compiled anew, and not optimised. Files that lie in the
 * folder as others do in native are taken from there.
 */
export async function buildWithOverlay(variant, sources, folder) {
  const changed = jobsOf(sources, folder, [
    ...variants[variant].kernels,
    ...variants[variant].whole,
    '-O0',
    `-I${folder}`,
    '-Inative',
  ])
  const kept = jobsOfLibrary(variant).filter(({ source }) => !sources.includes(source))
  return (await compileAll(changed)) && linkLibrary(variant, folder, [...changed, ...kept])
}
