import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Graph } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import { modelFor } from '#kvasir/models/registry.js'
import { record } from '#kvasir/nn/index.js'
import { readWeights } from '../models/checkpoint-weights.js'
import { shared, sharedDir } from '../shared.js'
import type { StepInputs } from './steps.js'

interface Golden {
  ids: number[] | number[][]
  logits: number[][] | number[][][]
}

const json = (...path: string[]) => JSON.parse(readFileSync(shared('models', ...path), 'utf8'))

/** One sequence in one block after another, all rows wanted. */
function stepOf(ids: number[]): StepInputs {
  const indices = Int32Array.from(ids, (_, i) => i)
  return {
    tokens: Int32Array.from(ids),
    positions: indices,
    queryStarts: Int32Array.of(0, ids.length),
    contextLengths: Int32Array.of(ids.length),
    blockTables: Int32Array.from({ length: Math.ceil(ids.length / 32) }, (_, block) => block),
    outputRows: indices,
  }
}

// Logits that independent implementations computed: in float64 to 9 digits, or in float32.
const models: [name: string, tolerance: number][] = [
  ['stories260K', 1e-8],
  ['tiny/gemma', 1e-8],
  ['tiny/gpt2', 1e-8],
  ['tiny/gpt_neo', 1e-8],
  ['tiny/llama', 1e-8],
  ['tiny/opt', 1e-8],
  ['tiny/qwen2', 1e-8],
  ['gpt-nano-sort', 1e-5],
]

describe.skipIf(!sharedDir).each(models)('the interpreter on %s', (name, tolerance) => {
  it('gives the golden logits, recorded and fused', async () => {
    const model = modelFor(json(name, 'config.json'))
    const golden: Golden = json(name, 'golden.json')
    const several = Array.isArray(golden.ids[0])
    const prompts = (several ? golden.ids : [golden.ids]) as number[][]
    const expected = (several ? golden.logits : [golden.logits]) as number[][][]
    const recorded = record(model)
    const weights = await readWeights(shared('models', name), model)
    const check = (graph: Graph) => {
      const interpreter = new Interpreter(graph, { weights })
      prompts.forEach((ids, i) => {
        expect(worst(interpreter.run(stepOf(ids)).logits, expected[i].flat())).toBeLessThan(tolerance)
      })
    }
    check(recorded)
    check(optimize(recorded))
  })
})

/** The largest difference, in standard deviations of the truth. */
function worst(found: Float64Array, truth: number[]): number {
  expect(found).toHaveLength(truth.length)
  const mean = truth.reduce((sum, x) => sum + x, 0) / truth.length
  const deviation = Math.sqrt(truth.reduce((sum, x) => sum + (x - mean) ** 2, 0) / truth.length)
  return truth.reduce((max, x, i) => Math.max(max, Math.abs(x - found[i])), 0) / deviation
}
