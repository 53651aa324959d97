import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { modelFor } from '#kvasir/models/registry.js'
import { record } from '#kvasir/nn/index.js'
import { randomWeights } from '../graph/graph-builder.js'
import { isas, NativeProgram, type StepInputs, threadCounts } from '../kernels/native-program.js'
import { rootDir } from '../shared.js'

const fixtures = join(rootDir, 'test', 'fixtures')
const numTokens = 64

/** The step that feeds tokens `from` to `to` of a sequence; all its rows are output rows. */
function stepOf(tokens: Int32Array, from: number, to: number): StepInputs {
  const count = to - from
  return {
    tokens: tokens.slice(from, to),
    positions: Int32Array.from({ length: count }, (_, i) => from + i),
    queryStarts: Int32Array.of(0, count),
    contextLengths: Int32Array.of(to),
    blockTables: Int32Array.of(3, 1),
    outputRows: Int32Array.from({ length: count }, (_, i) => i),
  }
}

// A token's logits are the same bits, however its prompt is cut into steps and whatever the number of threads.
describe.each(readdirSync(fixtures))('%s, whole model', (name) => {
  const graph = record(modelFor(JSON.parse(readFileSync(join(fixtures, name, 'config.json'), 'utf8'))))
  const weights = randomWeights(graph, 11)
  const vocabSize = Number(graph.values[graph.outputs.logits].shape[1])
  const tokens = Int32Array.from({ length: numTokens }, (_, i) => (i * 29 + 5) % vocabSize)

  it.each(isas)('is bit-identical in any chunking on %s', (isa) => {
    const whole = (() => {
      using program = new NativeProgram(graph, weights, { isa, threads: 1 })
      return program.run(stepOf(tokens, 0, numTokens)).logits
    })()
    for (const threads of threadCounts(1, 2, 3)) {
      using program = new NativeProgram(graph, weights, { isa, threads })
      for (const size of [1, 5, 7, 12, 13, 31, 32, 33, 50, 64]) {
        for (let from = 0; from < numTokens; from += size) {
          const to = Math.min(from + size, numTokens)
          const { logits } = program.run(stepOf(tokens, from, to))
          expect(logits, `${threads} threads, chunks of ${size}, from ${from}`).toEqual(
            whole.slice(from * vocabSize, to * vocabSize),
          )
        }
      }
    }
  })
})
