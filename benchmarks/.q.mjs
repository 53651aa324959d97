import { loadModel } from 'kvasir'
import { config, gpt2Checkpoint } from '/work/main/benchmarks/gpt2-shape.mjs'
import { addon } from '/work/main/dist/native/addon.js'

const folder = gpt2Checkpoint()
const prompt = Array.from({ length: 512 }, (_, i) => (i * 7919 + 11) % config.vocab_size)
const dtypes = (process.argv[2] ?? 'f32,bf16,q8,q4').split(',')
const probe = new (addon().Backend)({ threads: 2 })
const models = []
for (const dtype of dtypes) {
  const t = performance.now()
  const model = await loadModel(folder, { dtype, threads: 2 })
  console.log(
    dtype,
    'load',
    Math.round(performance.now() - t),
    'ms',
    (model.info.weightBytes / 1e6) | 0,
    'MB',
  )
  models.push({ dtype, model, d: [], p: [], s: [] })
}
for (let r = 0; r < 5; r++)
  for (const m of models) {
    const bw = probe.probeRead(2 ** 29)
    const d = (await m.model.complete(prompt.slice(0, 8), { maxTokens: 65, ignoreEos: true })).usage
    const p = (await m.model.complete(prompt, { maxTokens: 1 })).usage
    m.d.push(64000 / d.decodeMs)
    m.p.push(512000 / p.prefillMs)
    m.s.push(((64000 / d.decodeMs) * m.model.info.weightBytes) / bw)
  }
const med = (a) => a.toSorted((x, y) => x - y)[a.length >> 1]
for (const m of models)
  console.log(
    m.dtype,
    'decode',
    med(m.d).toFixed(1),
    'best',
    Math.max(...m.d).toFixed(1),
    'share',
    med(m.s).toFixed(2),
    'prefill',
    med(m.p).toFixed(0),
    'best',
    Math.max(...m.p).toFixed(0),
  )
for (const m of models) await m.model.dispose()
