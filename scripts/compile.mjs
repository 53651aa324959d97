// Compiling C++ for what the addon's build tools do not build: the emulated GPU and its tests.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'

const compiler = process.env.CXX ?? 'g++'

function run(args) {
  return new Promise((done) => {
    spawn(compiler, args, { stdio: 'inherit' }).on('close', (status) => done(status === 0))
  })
}

/** An object is fresh when nothing that its last compilation read is newer. */
function isFresh(object) {
  if (!existsSync(object) || !existsSync(`${object}.d`)) return false
  const built = statSync(object).mtimeMs
  const read = readFileSync(`${object}.d`, 'utf8').replaceAll('\\\n', ' ').trim().split(/\s+/).slice(1)
  return read.every((file) => existsSync(file) && statSync(file).mtimeMs <= built)
}

async function compile({ source, object, flags }) {
  if (isFresh(object)) return true
  const ok = await run([...flags, '-MMD', '-MF', `${object}.d`, '-c', source, '-o', object])
  if (!ok) rmSync(object, { force: true })
  return ok
}

/** Compiles the jobs `{ source, object, flags }` that have changed, a file a processor. Returns whether all are well. */
export async function compileAll(jobs) {
  const waiting = [...jobs]
  let ok = true
  const work = async () => {
    for (let next = waiting.shift(); ok && next; next = waiting.shift()) ok = (await compile(next)) && ok
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  return ok
}

/** Links objects into `out`. Returns whether that went well. */
export function link(out, objects, flags) {
  return run([...flags, ...objects, '-o', out, '-lpthread', '-ldl'])
}
