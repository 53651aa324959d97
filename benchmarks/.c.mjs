import { loadModel } from 'kvasir'

for (const d of ['q8', 'q4', 'bf16']) {
  const ids = [1, 2, 3, 4, 5, 6, 7]
  const a = await loadModel('.cache/gpt2-124m-f32', { dtype: d })
  const t = performance.now()
  const b = await loadModel('/tmp/conv-' + d)
  console.log(d, 'load ms', Math.round(performance.now() - t), a.info.weightBytes, b.info.weightBytes)
  const x = (await a.logits(ids)).data,
    y = (await b.logits(ids)).data
  console.log(x.every((v, i) => v === y[i]))
  await a.dispose()
  await b.dispose()
}
