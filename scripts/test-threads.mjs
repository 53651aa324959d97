// Runs many sequences at once on the addon that `npm run build:threads` made, under ThreadSanitizer. Node itself is not
// instrumented, so what it reports of Node's own threads says nothing; a report counts when the addon is in it.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** All kinds of steps, of sequences that share blocks, are preempted and are aborted; run by a process of its own. */
const work = (folder, dtype) => `
  import { loadModel } from 'kvasir'
  const options = { device: 'cpu', dtype: '${dtype}', threads: 4, stepTokens: 32, promptTokens: 8 }
  const plain = await loadModel('${folder}', options)
  const { cache } = await plain.stats()
  await plain.dispose()
  const model = await loadModel('${folder}', { ...options, cacheBytes: (cache.bytes / cache.blocks) * 12 })
  const ids = (i) => Array.from({ length: 1 + ((i * 7) % 50) }, (_, j) => (j < 32 ? j : i + j) % 60)
  const calls = (i) => [
    model.complete(ids(i), { maxTokens: 8, n: 1 + (i % 2), temperature: i % 2, seed: i, logprobs: i % 3 }),
    model.embed([ids(i)]),
    model.nextTokens(ids(i)),
    model.logits(ids(i)),
    model.sequence(ids(i)).then(async (sequence) => {
      await (await sequence.fork()).append([1])
      await sequence.dispose()
    }),
    model.complete(ids(i), { timeoutMs: i }).catch(() => {}),
  ]
  await Promise.all(Array.from({ length: 24 }, (_, i) => calls(i)).flat())
  await model.dispose()`

const addon = 'build/threads/kvasir.node'
const runtime = execFileSync('g++', ['-print-file-name=libtsan.so']).toString().trim()

/** The reports of one run in which the addon is. */
function reportsOf(script) {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-'))
  const options = `halt_on_error=0:exitcode=0:report_signal_unsafe=0:log_path=${join(folder, 'report')}`
  // ThreadSanitizer needs its addresses where it expects them.
  const { status, stderr } = spawnSync(
    'setarch',
    ['-R', process.execPath, '--input-type=module', '-e', script],
    {
      env: { ...process.env, KVASIR_ADDON: addon, LD_PRELOAD: runtime, TSAN_OPTIONS: options },
      encoding: 'utf8',
    },
  )
  const reports = readdirSync(folder).flatMap((file) =>
    readFileSync(join(folder, file), 'utf8').split('==================\n'),
  )
  rmSync(folder, { recursive: true, force: true })
  return [
    ...(status === 0 ? [] : [`ended with ${status}\n${stderr}`]),
    ...reports.filter((text) => text.includes('kvasir.node')),
  ]
}

if (!existsSync(addon)) {
  console.error(`${addon} is missing; npm run build:threads makes it`)
  process.exit(1)
}
let failed = 0
for (const [folder, dtype] of [
  ['test/fixtures/llama', 'f32'],
  ['test/fixtures/decoder-alibi', 'f32'],
  ['models/tiny-shakespeare', 'q8'],
]) {
  const reports = reportsOf(work(folder, dtype))
  for (const report of reports) console.log(report)
  console.log(`${reports.length === 0 ? 'ok' : 'FAILED'} ${folder} in ${dtype}`)
  failed += Number(reports.length > 0)
}
process.exitCode = failed === 0 ? 0 : 1
