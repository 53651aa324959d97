// How long native work goes on after a signal aborts: the next request can only start when it has stopped.
import { loadModel } from 'kvasir'
import { gpt2Checkpoint } from './gpt2-shape.mjs'
import { printTable, spread } from './statistics.mjs'

export async function benchAbort() {
  const model = await loadModel(gpt2Checkpoint())
  const long = Array.from({ length: 1000 }, (_, i) => i)
  const rows = [['abort', 'call rejects, ms', 'processors free, ms']]
  rows.push(['in a prefill of 1,000 tokens', ...(await timed(model, long, 300))])
  rows.push(['in decode', ...(await timed(model, [1], 300))])
  await model.dispose()
  printTable(rows)
}

async function timed(model, prompt, afterMs) {
  const rejects = []
  const free = []
  for (let round = 0; round < 9; round++) {
    const controller = new AbortController()
    const work = model.complete(prompt, { maxTokens: 500, ignoreEos: true, signal: controller.signal })
    await new Promise((resolve) => setTimeout(resolve, afterMs * (0.5 + round / 10)))
    const start = performance.now()
    controller.abort()
    await work.catch(() => rejects.push(performance.now() - start))
    // A request that itself takes no time is answered once the worker is free.
    const { usage } = await model.complete([1], { maxTokens: 1 })
    free.push(performance.now() - start - usage.prefillMs - usage.decodeMs)
  }
  return [spread(rejects), spread(free)]
}
