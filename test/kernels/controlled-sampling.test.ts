import { describe, expect, it } from 'vitest'
import type { Graph } from '#kvasir/graph/graph.js'
import { withControlledSampling } from '#kvasir/graph/passes/index.js'
import { Random } from '../graph/random.js'
import type { StepInputs } from '../graph/steps.js'
import { KernelGraph } from './kernel-graph.js'
import { isas, NativeProgram, onCuda, truth } from './native-program.js'
import { worstError } from './numbers.js'
import {
  allowedLogprob,
  randomControls,
  randomEdits,
  randomLogits,
  range,
  sampleStep,
} from './sampling-steps.js'

const most = 20

/** Everything at the end of a step, of rows of `logits`; the step's output rows are its tokens. */
function controlledGraph(
  V: number,
  logits: ArrayLike<number>,
): { graph: Graph; weights: KernelGraph['weights'] } {
  const kernels = new KernelGraph()
  kernels.finish({ logits: kernels.gatherRows('gather', kernels.activations('logits', V, logits)) })
  return { graph: withControlledSampling(kernels.graph, { most }), weights: kernels.weights }
}

function randomStep(random: Random, V: number, rows: readonly number[]): StepInputs {
  return {
    ...sampleStep(rows, () => randomControls(random, V)),
    ...randomEdits(random, V, rows.length),
    topCounts: Int32Array.from(rows, () => random.pick([0, 0, 1, 5, most])),
  }
}

function expectSteps(V: number, count: number, rowCounts: readonly number[], seed: number): void {
  const random = new Random(seed)
  const { graph, weights } = controlledGraph(
    V,
    range(count).flatMap(() => randomLogits(random, V)),
  )
  const steps = rowCounts.map((R) => randomStep(random, V, random.shuffle(range(count)).slice(0, R)))
  const interpreter = truth(graph, weights)
  const expected = steps.map((step) => interpreter.run(step))
  const limits = { maxTokens: count, maxEdits: 40 * count, maxMasks: 3 }
  for (const isa of isas) {
    // Without guards a GPU's steps are captured, and filled up with rows, edits and masks.
    for (const checked of [true, false]) {
      using program = new NativeProgram(graph, weights, { isa, checked, ...limits })
      steps.forEach((step, i) => {
        const found = program.run(step)
        for (const name of ['ids', 'topIds'])
          expect(Array.from(found[name]), `${isa}, ${name}`).toEqual(Array.from(expected[i][name]))
        for (const name of ['logprobs', 'topLogprobs']) {
          const error = worstError(found[name], expected[i][name], allowedLogprob)
          expect(error, `${isa}, ${name}`).toBeLessThanOrEqual(1)
        }
      })
    }
  }
}

describe('all controls together', () => {
  it.each([1, 2, 13, 31, 32, 33, 257, 1000])('give what the interpreter does among %i', (V) => {
    expectSteps(V, onCuda ? 17 : 64, onCuda ? [1, 2, 3, 7, 17] : [1, 2, 3, 7, 17, 64, 64, 64], V)
  })

  it('and among 50257', () => {
    expectSteps(50_257, 4, [1, 2, 4], 5)
  })

  it.each(range(onCuda ? 2 : 12))('and among any number, %i', (i) => {
    const random = new Random(100 + i)
    expectSteps(random.integer(1, 700), 16, [16, 16], i)
  })

  it('leave a row alone that has none', () => {
    const V = 300
    const random = new Random(7)
    const { graph, weights } = controlledGraph(
      V,
      range(3).flatMap(() => randomLogits(random, V)),
    )
    const none: StepInputs = {
      editStarts: new Int32Array(4),
      editIds: new Int32Array(0),
      editFactors: new Float32Array(0),
      editOffsets: new Float32Array(0),
      maskRows: new Int32Array(3).fill(-1),
      masks: new Int32Array(0),
      topCounts: new Int32Array(3),
    }
    const banned: StepInputs = {
      ...none,
      maskRows: Int32Array.of(-1, 0, -1),
      masks: new Int32Array(Math.ceil(V / 32)),
      topCounts: Int32Array.of(0, 5, 0),
    }
    for (const isa of isas) {
      using program = new NativeProgram(graph, weights, { isa, maxTokens: 3, maxMasks: 1 })
      const step = sampleStep([0, 1, 2], (counter) => ({ counter }))
      const free = program.run({ ...step, ...none })
      const masked = program.run({ ...step, ...banned })
      expect([masked.ids[0], masked.ids[1], masked.ids[2]], isa).toEqual([free.ids[0], -1, free.ids[2]])
      expect(masked.logprobs[1], isa).toBeNaN()
      expect(
        Array.from(masked.topIds).every((id) => id === -1),
        isa,
      ).toBe(true)
    }
  })
})
