import { describe, expect, it } from 'vitest'
import type { ValueId } from '#kvasir/graph/graph.js'
import { Random } from '../graph/random.js'
import type { StepInputs } from '../graph/steps.js'
import { expectRefused } from './expect-refused.js'
import { KernelGraph } from './kernel-graph.js'
import { isas, onCuda, threadCounts } from './native-program.js'
import { difference, extremes } from './numbers.js'
import { randomEdits, randomLogits, range } from './sampling-steps.js'

const tables = ['editStarts', 'editIds', 'editFactors', 'editOffsets', 'maskRows', 'masks'] as const

/** Adjusts rows of `logits`; the step's output rows are its tokens. */
function adjustGraph(V: number, logits: ArrayLike<number>): KernelGraph {
  const graph = new KernelGraph()
  const inputs: Record<string, ValueId> = {
    logits: graph.gatherRows('gather', graph.activations('logits', V, logits)),
  }
  for (const name of tables) inputs[name] = graph.input(name, V)
  graph.finish(graph.nodeWith('adjust-logits', inputs, ['R', V], { adjusted: 'f32' }))
  return graph
}

const rowsStep = (rows: readonly number[]): StepInputs => ({
  tokens: Int32Array.from(rows),
  outputRows: Int32Array.from(rows, (_, r) => r),
})

/** Rows without edits and masks, and with those that are given. */
function step(rows: readonly number[], changes: StepInputs = {}): StepInputs {
  return {
    ...rowsStep(rows),
    editStarts: new Int32Array(rows.length + 1),
    editIds: new Int32Array(0),
    editFactors: new Float32Array(0),
    editOffsets: new Float32Array(0),
    maskRows: new Int32Array(rows.length).fill(-1),
    masks: new Int32Array(0),
    ...changes,
  }
}

const limits = (R: number, V: number) => ({ maxTokens: R, maxEdits: R * Math.min(V, 300), maxMasks: 3 })

describe('adjust-logits', () => {
  it.each([1, 2, 3, 13, 31, 32, 33, 63, 64, 65, 257, 2047, 2049, 4097])(
    'gives the interpreter’s bits for rows of %i',
    (V) => {
      const random = new Random(V)
      const count = onCuda ? 17 : 64
      const graph = adjustGraph(
        V,
        range(count).flatMap(() => randomLogits(random, V)),
      )
      const truth = graph.interpreter()
      const steps = [1, 2, 3, 7, 17, 64]
        .filter((R) => R <= count)
        .map((R) => {
          const rows = random.shuffle(range(count)).slice(0, R)
          return { ...rowsStep(rows), ...randomEdits(random, V, R) }
        })
      for (const one of steps) {
        const expected = truth.run(one)
        for (const isa of isas) {
          for (const threads of threadCounts(1, 3)) {
            using program = graph.program({ isa, threads, ...limits(count, V) })
            expect(difference(program.run(one).adjusted, expected.adjusted), isa).toBe('')
          }
        }
      }
    },
  )

  it.each(onCuda ? [50_257] : [50_257, 128_256])('and for rows of %i, in pieces', (V) => {
    const random = new Random(V)
    const graph = adjustGraph(
      V,
      range(3).flatMap(() => randomLogits(random, V)),
    )
    const one = { ...rowsStep([2, 0, 1]), ...randomEdits(random, V, 3, 300) }
    const expected = graph.interpreter().run(one)
    for (const [program, isa] of graph.programs({ threads: 2, ...limits(3, V) })) {
      expect(difference(program.run(one).adjusted, expected.adjusted), isa).toBe('')
    }
  })

  it('keeps every logit that nothing changes, extremes too', () => {
    const V = extremes.length
    const graph = adjustGraph(V, extremes)
    for (const [program, isa] of graph.programs(limits(2, V))) {
      expect(difference(program.run(step([0])).adjusted, extremes), isa).toBe('')
      const allAllowed = { maskRows: Int32Array.of(0), masks: Int32Array.of(-1) }
      expect(difference(program.run(step([0], allAllowed)).adjusted, extremes), isa).toBe('')
      const noneAllowed = { maskRows: Int32Array.of(-1, 0), masks: Int32Array.of(0) }
      const { adjusted } = program.run(step([0, 0], noneAllowed))
      expect(difference(adjusted.subarray(0, V), extremes), isa).toBe('')
      expect(difference(adjusted.subarray(V), new Float32Array(V).fill(-Infinity)), isa).toBe('')
    }
  })

  it('edits extremes as f32 arithmetic has it', () => {
    const V = extremes.length
    const graph = adjustGraph(V, extremes)
    const truth = graph.interpreter()
    for (const factor of [1, 1.2, 0.5, 1e-45, 3.4e38]) {
      for (const offset of [0, -0, 0.1, 3.4e38, -3.4e38, -Infinity]) {
        const one = step([0], {
          editStarts: Int32Array.of(0, V),
          editIds: Int32Array.from(range(V)),
          editFactors: new Float32Array(V).fill(factor),
          editOffsets: new Float32Array(V).fill(offset),
        })
        const expected = truth.run(one).adjusted
        for (const [program, isa] of graph.programs(limits(1, V))) {
          const where = `${isa}, factor ${factor}, offset ${offset}`
          expect(difference(program.run(one).adjusted, expected), where).toBe('')
        }
      }
    }
  })

  it('divides what is positive and multiplies what is not', () => {
    const graph = adjustGraph(4, [3, -3, 0, 1])
    const one = step([0], {
      editStarts: Int32Array.of(0, 3),
      editIds: Int32Array.of(1, 0, 2),
      editFactors: Float32Array.of(1.5, 1.5, 1.5),
      editOffsets: Float32Array.of(0.25, 0.25, -Infinity),
    })
    for (const [program, isa] of graph.programs(limits(1, 4))) {
      expect(Array.from(program.run(one).adjusted), isa).toEqual([2.25, -4.25, -Infinity, 1])
    }
  })

  describe('refuses', () => {
    const V = 40
    const graph = adjustGraph(V, new Float32Array(2 * V))
    const good = step([0, 1], {
      editStarts: Int32Array.of(0, 2, 3),
      editIds: Int32Array.of(5, 39, 5),
      editFactors: Float32Array.of(1, 2, 1),
      editOffsets: Float32Array.of(0, 1, -Infinity),
      maskRows: Int32Array.of(0, -1),
      masks: Int32Array.of(1, 2),
    })
    const ints = (...numbers: number[]) => Int32Array.from(numbers)
    const floats = (...numbers: number[]) => Float32Array.from(numbers)
    const cases: [string, StepInputs, RegExp][] = [
      ['starts after 0', { editStarts: ints(1, 2, 3) }, /editStarts\[0\] must be 0, got 1/],
      ['starts before 0', { editStarts: ints(-1, 2, 3) }, /editStarts\[0\]/],
      ['starts that go back', { editStarts: ints(0, 2, 1) }, /editStarts\[2\] must be from 2 to 3, got 1/],
      ['starts beyond the edits', { editStarts: ints(0, 4, 3) }, /editStarts\[1\] must be from 0 to 3/],
      ['starts far below', { editStarts: ints(0, -(2 ** 31), 3) }, /editStarts\[1\]/],
      ['starts that leave edits out', { editStarts: ints(0, 2, 2) }, /editStarts\[2\] must be 3, got 2/],
      ['starts of fewer rows', { editStarts: ints(0, 3) }, /R\+1 = /],
      ['a token below 0', { editIds: ints(5, -1, 5) }, /editIds\[1\] must be from 0 to 39, got -1/],
      ['a token past the last', { editIds: ints(5, 40, 5) }, /editIds\[1\]/],
      [
        'a token twice in a row',
        { editIds: ints(5, 5, 5) },
        /editIds\[1\] must be a token that the row has no/,
      ],
      ['fewer factors than edits', { editFactors: floats(1, 1) }, /E = /],
      ['more offsets than edits', { editOffsets: floats(1, 1, 1, 1) }, /E = /],
      [
        'more edits than the limit',
        {
          editStarts: ints(0, 5, 5),
          editIds: ints(0, 1, 2, 3, 4),
          editFactors: floats(1, 1, 1, 1, 1),
          editOffsets: floats(1, 1, 1, 1, 1),
        },
        /E must be from 0 to 4, got 5/,
      ],
      ...[0, -1, NaN, Infinity].map((factor): [string, StepInputs, RegExp] => [
        `a factor of ${factor}`,
        { editFactors: floats(1, factor, 1) },
        /editFactors\[1\] must be above 0 and finite/,
      ]),
      ...[NaN, Infinity].map((offset): [string, StepInputs, RegExp] => [
        `an offset of ${offset}`,
        { editOffsets: floats(0, 0, offset) },
        /editOffsets\[2\] must be below infinity/,
      ]),
      ['a mask that is not there', { maskRows: ints(1, -1) }, /maskRows\[0\] must be from -1 to 0, got 1/],
      ['mask -2', { maskRows: ints(0, -2) }, /maskRows\[1\]/],
      ['a mask where there are none', { masks: ints() }, /maskRows\[0\] must be from -1 to -1/],
      ['half a mask', { masks: ints(1, 2, 3) }, /masks must be \(M, 2\)/],
      ['more masks than the limit', { masks: new Int32Array(6) }, /M must be from 0 to 2, got 3/],
    ]
    it.each(cases)('%s', (_, changes, message) => {
      for (const [program] of graph.programs({ maxTokens: 2, maxEdits: 4, maxMasks: 2 })) {
        const before = program.run(good)
        expectRefused(() => program.run({ ...good, ...changes }), message)
        expect(program.run(good)).toEqual(before)
      }
    })
  })

  it('takes no edits and no masks without room for them', () => {
    const graph = adjustGraph(40, range(80))
    for (const [program, isa] of graph.programs({ maxTokens: 2 })) {
      expect(Array.from(program.run(step([1])).adjusted), isa).toEqual(range(40).map((id) => id + 40))
      const masked = { maskRows: Int32Array.of(0), masks: Int32Array.of(1, 2) }
      expectRefused(() => program.run(step([1], masked)), /M must be from 0 to 0/)
    }
  })
})
