// Decode speed while another process keeps one processor busy.

import { spawn } from 'node:child_process'
import { loadModel } from 'kvasir'
import { gpt2Checkpoint } from './gpt2-shape.mjs'
import { median, printTable, spread } from './statistics.mjs'

const tokens = 40

export async function benchNeighbour() {
  const model = await loadModel(gpt2Checkpoint())
  const alone = []
  const beside = []
  for (let round = 0; round < 7; round++) {
    alone.push(await decode(model))
    const burner = spawn(process.execPath, ['-e', 'for (;;);'])
    await new Promise((resolve) => setTimeout(resolve, 200))
    beside.push(await decode(model))
    burner.kill('SIGKILL')
    await new Promise((resolve) => burner.on('exit', resolve))
  }
  await model.dispose()
  printTable([
    ['decode, tok/s', 'alone', 'one processor taken', 'kept'],
    ['f32', spread(alone), spread(beside), `${((100 * median(beside)) / median(alone)).toFixed(0)} %`],
  ])
}

async function decode(model) {
  const { usage } = await model.complete([1], { maxTokens: tokens + 1, ignoreEos: true })
  return tokens / (usage.decodeMs / 1000)
}
