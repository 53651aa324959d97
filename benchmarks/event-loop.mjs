// How long timers of the calling thread wait while a model loads and generates with all processors busy.
import { loadModel } from 'kvasir'
import { watchEventLoop } from './event-loop-delay.mjs'
import { gpt2Checkpoint } from './gpt2-shape.mjs'
import { printTable } from './statistics.mjs'

export async function benchEventLoop() {
  const folder = gpt2Checkpoint()
  const rows = [['event-loop delay', 'p50 ms', 'p99 ms', 'max ms']]
  let model
  rows.push(
    await watched('loading', async () => {
      model = await loadModel(folder)
    }),
  )
  const prompt = Array.from({ length: 512 }, (_, i) => i)
  rows.push(await watched('prefill, 512 tokens', () => model.complete(prompt, { maxTokens: 1 })))
  rows.push(
    await watched('decode, 200 tokens', () => model.complete([1], { maxTokens: 200, ignoreEos: true })),
  )
  await model.dispose()
  printTable(rows)
}

async function watched(name, body) {
  const { delay } = await watchEventLoop(body)
  return [name, ...[delay.p50Ms, delay.p99Ms, delay.maxMs].map((ms) => ms.toFixed(1))]
}
