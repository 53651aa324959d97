import { describe, expect, it } from 'vitest'
import { Random } from '../graph/random.js'
import { isas, onCuda, threadCounts } from './native-program.js'
import { randomNumbers, worstError } from './numbers.js'
import type { Settings } from './sampling-steps.js'
import {
  allowedLogprob as allowed,
  randomControls,
  randomLogits,
  randomSettings,
  range,
  sampleGraph,
  sampleStep,
} from './sampling-steps.js'

describe('sample', () => {
  it.each([1, 2, 3, 5, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 4097])(
    'chooses what the interpreter does among %i',
    (V) => {
      const random = new Random(V)
      const count = onCuda ? 24 : V < 1000 ? 96 : 40
      const graph = sampleGraph(
        V,
        range(count).flatMap(() => randomLogits(random, V)),
      )
      const truth = graph.interpreter()
      const steps = range(V < 1000 && !onCuda ? 6 : 3).map(() => {
        return sampleStep(random.shuffle(range(count)), () => randomSettings(random, V))
      })
      const expected = steps.map((step) => truth.run(step))
      for (const [program, isa] of graph.programs({ threads: 3, maxTokens: count })) {
        steps.forEach((step, i) => {
          const { ids, logprobs } = program.run(step)
          expect(Array.from(ids), isa).toEqual(Array.from(expected[i].ids))
          expect(worstError(logprobs, expected[i].logprobs, allowed), isa).toBeLessThanOrEqual(1)
        })
      }
    },
  )

  it('chooses what the interpreter does among 50257', () => {
    const V = 50_257
    const random = new Random(1)
    const graph = sampleGraph(
      V,
      range(12).flatMap(() => randomLogits(random, V)),
    )
    const step = sampleStep(range(12), () => randomSettings(random, V))
    const expected = graph.interpreter().run(step)
    for (const [program, isa] of graph.programs({ threads: 2, maxTokens: 12 })) {
      const { ids, logprobs } = program.run(step)
      expect(Array.from(ids), isa).toEqual(Array.from(expected.ids))
      expect(worstError(logprobs, expected.logprobs, allowed), isa).toBeLessThanOrEqual(1)
    }
  })

  it.each([1, 4, 15, 16, 17, 64, 255, 256, 257, 1000])(
    'takes the largest of %i, the first of equals',
    (V) => {
      const rows = range(V < 100 ? V : 40).map((n) => {
        const [first, second] = [(n * 7919) % V, (n * 104_729) % V]
        return range(V).map((id) => (id === first || id === second ? 3 : 3 - ((id * 31) % 17) / 16 - 0.01))
      })
      const graph = sampleGraph(V, rows.flat())
      const expected = rows.map((row) => row.indexOf(Math.max(...row)))
      for (const [program, isa] of graph.programs({ maxTokens: rows.length })) {
        const greedy = program.run(sampleStep(range(rows.length), () => ({ temperature: 0 })))
        expect(Array.from(greedy.ids), isa).toEqual(expected)
        // Every rule that leaves one token, the first of the largest.
        for (const rule of [{ topK: 1 }, { topP: 1e-9 }]) {
          const { ids } = program.run(sampleStep(range(rows.length), (r) => ({ ...rule, counter: r })))
          expect(Array.from(ids), `${isa}, ${JSON.stringify(rule)}`).toEqual(expected)
        }
        // And those that leave the largest alone.
        for (const rule of [{ minP: 1 }, { temperature: 1e-6 }, { temperature: 1e-40 }]) {
          const { ids } = program.run(sampleStep(range(rows.length), (r) => ({ ...rule, counter: r })))
          ids.forEach((id, r) => {
            expect(rows[r][id], `${isa}, ${JSON.stringify(rule)}`).toBe(rows[r][expected[r]])
          })
        }
      }
    },
  )

  it('counts -0 and 0 as equals', () => {
    const graph = sampleGraph(5, [-1, -0, 0, -0, -1, -1, 0, -0, 0, -1])
    for (const [program, isa] of graph.programs()) {
      for (const rule of [{ temperature: 0 }, { topK: 1 }, { topP: 0.1 }]) {
        const { ids } = program.run(sampleStep([0, 1], () => rule))
        expect(Array.from(ids), `${isa}, ${JSON.stringify(rule)}`).toEqual([1, 1])
      }
    }
  })

  it('never chooses a masked token', () => {
    const V = 300
    const allowedIds = [7, 130, 131, 299]
    const row = range(V).map((id) => (allowedIds.includes(id) ? (id % 3) - 1 : -Infinity))
    const graph = sampleGraph(V, row)
    const random = new Random(3)
    for (const [program, isa] of graph.programs()) {
      for (let i = 0; i < 10; i++) {
        const { ids } = program.run(sampleStep(new Array(60).fill(0), () => randomSettings(random, V)))
        ids.forEach((id) => {
          expect(allowedIds, isa).toContain(id)
        })
      }
    }
  })

  it.each([
    ['a NaN', [1, NaN, 2]],
    ['infinity', [1, Infinity, 2]],
    ['both', [Infinity, NaN, -Infinity]],
    ['nothing above -infinity', [-Infinity, -Infinity, -Infinity]],
  ])('gives no token for a row with %s, and goes on', (_, row) => {
    for (const V of [3, 40]) {
      const fine = range(V).map((id) => id / 7)
      const bad = V === 3 ? row : [...row, ...new Array(V - 3).fill(row[0] === 1 ? 0 : -Infinity)]
      const graph = sampleGraph(V, [...fine, ...bad])
      for (const [program, isa] of graph.programs()) {
        const expected = program.run(sampleStep([0, 0], (r) => ({ counter: r })))
        for (const rule of [
          {},
          { temperature: 0 },
          { topK: 2 },
          { topP: 0.5, temperature: 0.3 },
          { minP: 0.2 },
        ]) {
          const { ids, logprobs } = program.run(sampleStep([0, 1, 0], (r) => ({ ...rule, counter: r })))
          const others = program.run(sampleStep([0, 0], (r) => ({ ...rule, counter: 2 * r })))
          const where = `${isa}, ${JSON.stringify(rule)}`
          expect(Array.from(ids), where).toEqual([others.ids[0], -1, others.ids[1]])
          expect(Array.from(logprobs), where).toEqual([others.logprobs[0], NaN, others.logprobs[1]])
        }
        expect(program.run(sampleStep([0, 0], (r) => ({ counter: r }))), isa).toEqual(expected)
      }
    }
  })

  it('takes logits of any size', () => {
    const rows = [
      [3.4e38, -3.4e38, 3.4e38, 0],
      [-3.4e38, -3.4e38, -3.3e38, -Infinity],
      [1e-45, 0, -1e-45, 1e-38],
      [1e30, 1e30, 1e30, -1e30],
      [-1000, -1000.5, -1001, -2000],
    ]
    const graph = sampleGraph(4, rows.flat())
    const truth = graph.interpreter()
    for (const temperature of [0, 0.01, 1, 1e6]) {
      for (const rule of [{}, { topK: 2 }, { topP: 0.9 }, { minP: 0.1 }]) {
        const step = sampleStep(range(rows.length), (r) => ({ temperature, ...rule, counter: r }))
        const expected = truth.run(step)
        for (const [program, isa] of graph.programs()) {
          const { ids, logprobs } = program.run(step)
          const where = `${isa}, temperature ${temperature}, ${JSON.stringify(rule)}`
          expect(Array.from(ids), where).toEqual(Array.from(expected.ids))
          expect(worstError(logprobs, expected.logprobs, allowed), where).toBeLessThanOrEqual(1)
        }
      }
    }
  })

  it('draws a row alike in any company, on any number of threads', () => {
    const V = 700
    const random = new Random(4)
    const graph = sampleGraph(
      V,
      range(64).flatMap(() => randomLogits(random, V)),
    )
    const settings = range(64).map(() => randomSettings(random, V))
    for (const isa of isas) {
      using alone = graph.program({ isa, threads: 1, maxTokens: 64 })
      const single = range(64).map((row) => alone.run(sampleStep([row], () => settings[row])))
      for (const threads of threadCounts(1, 2, 3)) {
        using program = graph.program({ isa, threads, maxTokens: 64 })
        const rows = random.shuffle(range(64))
        const { ids, logprobs } = program.run(sampleStep(rows, (r) => settings[rows[r]]))
        rows.forEach((row, r) => {
          expect([ids[r], logprobs[r]], `${isa}, row ${row}`).toEqual([
            single[row].ids[0],
            single[row].logprobs[0],
          ])
        })
      }
    }
  })

  it('draws by seed and counter alone', () => {
    const graph = sampleGraph(1000, randomNumbers(5, 1000, 0.1))
    for (const [program, isa] of graph.programs({ maxTokens: 512 })) {
      const draw = (settings: (r: number) => Partial<Settings>) =>
        Array.from(program.run(sampleStep(new Array(200).fill(0), settings)).ids)
      const first = draw((r) => ({ counter: r }))
      expect(
        draw((r) => ({ counter: r })),
        isa,
      ).toEqual(first)
      // Each of the 96 bits counts: some 200 of 1000 ids would be drawn again by chance, not more.
      for (const other of [
        draw((r) => ({ counter: r + 200 })),
        draw((r) => ({ counter: r, seed: [1, 3] })),
        draw((r) => ({ counter: r, seed: [3, 2] })),
        draw((r) => ({ counter: r, seed: [1 - 2 ** 31, 2] })),
      ]) {
        expect(other.filter((id, r) => id === first[r]).length, isa).toBeLessThan(10)
      }
    }
  })
})

describe('sample with controls', () => {
  it.each([1, 2, 13, 31, 32, 33, 64, 257, 1000, 4097])(
    'chooses from one matrix and tells by the other, among %i',
    (V) => {
      const random = new Random(V + 1)
      const count = onCuda ? 24 : V < 1000 ? 96 : 40
      const rows = () => range(count).flatMap(() => randomLogits(random, V))
      const graph = sampleGraph(V, rows(), rows())
      const truth = graph.interpreter()
      const steps = range(V < 1000 && !onCuda ? 6 : 3).map(() =>
        sampleStep(random.shuffle(range(count)), () => randomControls(random, V)),
      )
      const expected = steps.map((step) => truth.run(step))
      for (const [program, isa] of graph.programs({ threads: 3, maxTokens: count })) {
        steps.forEach((step, i) => {
          const { ids, logprobs } = program.run(step)
          expect(Array.from(ids), isa).toEqual(Array.from(expected[i].ids))
          expect(worstError(logprobs, expected[i].logprobs, allowed), isa).toBeLessThanOrEqual(1)
        })
      }
    },
  )

  it.each(onCuda ? [50_257] : [50_257, 128_256])('chooses what the interpreter does among %i', (V) => {
    const random = new Random(V)
    const rows = () => range(6).flatMap(() => randomLogits(random, V))
    const graph = sampleGraph(V, rows(), rows())
    const step = sampleStep(range(6), () => randomControls(random, V))
    const expected = graph.interpreter().run(step)
    for (const [program, isa] of graph.programs({ threads: 2, maxTokens: 6 })) {
      const { ids, logprobs } = program.run(step)
      expect(Array.from(ids), isa).toEqual(Array.from(expected.ids))
      expect(worstError(logprobs, expected.logprobs, allowed), isa).toBeLessThanOrEqual(1)
    }
  })

  it('gives what the plain program does, bit for bit, where nothing is controlled', () => {
    for (const V of [33, 1000]) {
      const random = new Random(V)
      const count = onCuda ? 16 : 64
      const logits = range(count).flatMap(() => randomLogits(random, V))
      const step = sampleStep(range(count), () => randomSettings(random, V))
      for (const isa of isas) {
        using simple = sampleGraph(V, logits).program({ isa, maxTokens: count })
        using controlled = sampleGraph(V, logits, logits).program({ isa, maxTokens: count })
        expect(controlled.run(step), isa).toEqual(simple.run(step))
      }
    }
  })

  it('keeps the typical ones, on both sides of the mean, lower ids among equals', () => {
    // At temperature 1: distances 0 and ln 2, ln 4, ln 4 of probabilities 1/2, 1/4, 1/8, 1/8: the mean is 1.75 ln 2 - ln 2.
    const logits = [-2, 0, -2, -1].map((exponent) => exponent * Math.LN2)
    const graph = sampleGraph(4, logits, logits)
    const kept = (typicalP: number, more: Partial<Settings> = {}) => {
      const found = new Map<string, number[]>()
      for (const [program, isa] of graph.programs()) {
        const { ids } = program.run(
          sampleStep(new Array(200).fill(0), (counter) => ({ typicalP, counter, ...more })),
        )
        found.set(isa, [...new Set(ids)].sort())
      }
      const [first] = found.values()
      for (const [isa, other] of found) expect(other, isa).toEqual(first)
      return first
    }
    // |d - 0.75 ln 2| in units of ln 2: 0.75, then 0.25 of the second, 1.25 of the last two.
    expect(kept(0.1)).toEqual([3])
    expect(kept(0.3)).toEqual([1, 3])
    expect(kept(0.8)).toEqual([0, 1, 3])
    expect(kept(0.9)).toEqual([0, 1, 2, 3])
    // Of what is left, the largest may be below a largest that is not.
    expect(kept(0.1, { minP: 1 })).toEqual([3])
    expect(kept(0.3, { topP: 0.5 })).toEqual([1])
    expect(kept(0.1, { topK: 1 })).toEqual([1])
    expect(kept(0.1, { temperature: 0 })).toEqual([1])
  })

  it('takes what is forced, and its log probability by the model', () => {
    const graph = sampleGraph(3, [0, 1, -Infinity, NaN, 0, 0], new Array(6).fill(-Infinity))
    for (const [program, isa] of graph.programs()) {
      const { ids, logprobs } = program.run(
        sampleStep([0, 0, 0, 0, 1], (r) => ({ forced: [1, 0, 2, -1, 1][r] })),
      )
      expect(Array.from(ids), isa).toEqual([1, 0, 2, -1, -1])
      const [first, second] = [1, 0].map((logit) => logit - Math.log(Math.E + 1))
      expect(worstError(logprobs, [first, second, -Infinity, NaN, NaN], allowed), isa).toBeLessThanOrEqual(1)
    }
  })

  it.each([
    ['a NaN', [1, NaN, 2]],
    ['infinity', [1, Infinity, 2]],
    ['nothing above -infinity', [-Infinity, -Infinity, -Infinity]],
  ])('gives no token where either matrix has a row with %s', (_, bad) => {
    const fine = [0, 1, 2]
    const graph = sampleGraph(3, [...fine, ...bad, ...fine], [...bad, ...fine, ...fine])
    for (const [program, isa] of graph.programs()) {
      for (const rule of [
        {},
        { temperature: 0 },
        { topK: 2 },
        { typicalP: 0.5 },
        { topP: 0.5, temperature: 0.3 },
      ]) {
        const { ids, logprobs } = program.run(sampleStep([0, 1, 2], () => rule))
        const where = `${isa}, ${JSON.stringify(rule)}`
        expect(Array.from(ids.subarray(0, 2)), where).toEqual([-1, -1])
        expect(Array.from(logprobs.subarray(0, 2)), where).toEqual([NaN, NaN])
        expect(ids[2], where).toBeGreaterThanOrEqual(0)
      }
    }
  })

  it('takes logits of any size, and settings at their ends', () => {
    const rows = [
      [3.4e38, -3.4e38, 3.4e38, 0],
      [-3.4e38, -3.4e38, -3.3e38, -Infinity],
      [1e-45, 0, -1e-45, 1e-38],
      [1e30, 1e30, 1e30, -1e30],
      [-1000, -1000.5, -1001, -2000],
      [0, 0, 0, 0],
    ]
    const graph = sampleGraph(4, rows.toReversed().flat(), rows.flat())
    const truth = graph.interpreter()
    for (const temperature of [0, 1e-30, 0.01, 1, 1e6]) {
      for (const rule of [
        {},
        { typicalP: 1e-9 },
        { typicalP: 0.6 },
        { topP: 1e-30 },
        { topK: 1 },
        { topK: 3, typicalP: 0.7, minP: 0.2 },
      ]) {
        const step = sampleStep(range(rows.length), (r) => ({ temperature, ...rule, counter: r }))
        const expected = truth.run(step)
        for (const [program, isa] of graph.programs()) {
          const { ids, logprobs } = program.run(step)
          const where = `${isa}, temperature ${temperature}, ${JSON.stringify(rule)}`
          expect(Array.from(ids), where).toEqual(Array.from(expected.ids))
          expect(worstError(logprobs, expected.logprobs, allowed), where).toBeLessThanOrEqual(1)
        }
      }
    }
  })

  it('has one token where there is but one', () => {
    const graph = sampleGraph(1, [-3], [7])
    for (const [program, isa] of graph.programs()) {
      const random = new Random(1)
      const { ids, logprobs } = program.run(
        sampleStep(new Array(50).fill(0), () => randomControls(random, 1)),
      )
      expect(new Set([...ids, ...logprobs]), isa).toEqual(new Set([0]))
    }
  })

  it('draws a row alike in any company, on any number of threads', () => {
    const V = 700
    const random = new Random(4)
    const rows = () => range(32).flatMap(() => randomLogits(random, V))
    const graph = sampleGraph(V, rows(), rows())
    const settings = range(32).map(() => randomControls(random, V))
    for (const isa of isas) {
      using alone = graph.program({ isa, threads: 1, maxTokens: 32 })
      const single = range(32).map((row) => alone.run(sampleStep([row], () => settings[row])))
      for (const threads of threadCounts(1, 3)) {
        using program = graph.program({ isa, threads, maxTokens: 32 })
        for (const count of [2, 3, 7, 17, 32]) {
          const some = random.shuffle(range(32)).slice(0, count)
          const { ids, logprobs } = program.run(sampleStep(some, (r) => settings[some[r]]))
          some.forEach((row, r) => {
            expect([ids[r], logprobs[r]], `${isa}, row ${row}`).toEqual([
              single[row].ids[0],
              single[row].logprobs[0],
            ])
          })
        }
      }
    }
  })
})
